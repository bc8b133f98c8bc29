// A trained model from a Hugging Face file, run by the engine, for comparison with references.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "compat/safetensors.h"
#include "device/backend.h"
#include "infer/trace.h"
#include "train/engine/engine.h"

namespace levanter::testing {

/// Rows of equal length in one segment each.
struct TokenRows : data::Example {
  int64_t length = 0;

  /// Appends a row; `weights` as long as the others.
  void add(const std::vector<int32_t>& ids, const std::vector<int32_t>& next,
           const std::vector<float>& weights);
  int64_t count() const { return static_cast<int64_t>(tokens.size()) / length; }
  double total_weight() const;
};

/// The model and its weights.
struct TrainedModel {
  TrainedModel(const models::ModelEntry& family, const ModelConfig& config, int64_t vocab_size,
               const std::string& weights);

  infer::ModelSpec spec;
  int64_t vocab_size;
  safetensors::File weights;

  /// An engine for all rows in so many microbatches, each a group, with these weights.
  std::unique_ptr<train::Engine> engine(const Backend& backend, const OptimizerConfig& adam,
                                        const TokenRows& rows, int64_t microbatches) const;
  /// The logits behind each position, [batch, position, vocab] row-major.
  std::vector<double> logits(const Backend& backend, const TokenRows& rows) const;
  /// The loss of each token, of `batch` rows at a time.
  std::vector<double> losses(const Backend& backend, const TokenRows& rows, int64_t batch) const;
};

/// Runs the microbatches of one step; the gradients are then in engine.total().
void run_gradients(train::Engine& engine, const TokenRows& rows);

/// The loss of the gradients just run.
double loss_of(train::Engine& engine);

/// The largest error of a gradient over its tensor's largest entry, over all parameters.
double worst_gradient_error(train::Engine& engine, const safetensors::File& reference);

/// The elements of a tensor that must be there.
std::vector<float> values_of(const safetensors::File& file, const std::string& name);

}  // namespace levanter::testing

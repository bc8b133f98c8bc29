// A model's parameters in memory, for evaluation and generation alone.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "device/backend.h"
#include "infer/sampling.h"
#include "infer/trace.h"

namespace levanter::infer {

/// One parameter's memory, to be filled before the first use.
struct ParamSlot {
  const nn::Param* param = nullptr;
  float* data = nullptr;
};

class InferenceModel final {
 public:
  /// `batch`: rows that token_losses takes at a time; `compute`: f32 or bf16. The backend and the
  /// spec outlive this.
  InferenceModel(const ModelSpec& spec, int64_t vocab_size, int64_t batch, const Backend& backend,
                 DType compute = DType::f32);
  ~InferenceModel();
  InferenceModel(const InferenceModel&) = delete;
  InferenceModel& operator=(const InferenceModel&) = delete;

  std::vector<ParamSlot> slots();
  /// Token losses of `batch` rows of max_seq_len tokens; good until the next call.
  std::span<const float> token_losses(const Rows& rows);
  /// Logits of the token after `tokens`, at least one; of more than max_seq_len, the last
  /// max_seq_len count. Good until the next call.
  std::span<const float> next_logits(std::span<const int32_t> tokens);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

struct GenerateOptions {
  SamplingOptions sampling;
  int64_t max_new_tokens = 200;
  std::vector<int32_t> stop_ids;  ///< generation ends after one of these, which is not returned
  Key key;
};

/// The tokens that follow `prompt`, which has at least one. The i-th token drawn is a function of
/// the key, i and the logits alone.
std::vector<int32_t> generate(InferenceModel& model, std::span<const int32_t> prompt,
                              const GenerateOptions& options);

}  // namespace levanter::infer

// A model as traced functions: parameters, token losses, the next token's logits.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "data/rows/example.h"
#include "models/model.h"
#include "models/objective.h"
#include "nn/adaptation.h"
#include "nn/scope.h"
#include "ops/function.h"
#include "optim/groups.h"

namespace levanter::infer {

/// What a function is traced for.
struct StepShape {
  int64_t batch = 1;     ///< sequences of one microbatch
  int64_t position = 1;  ///< tokens of a sequence
  int64_t vocab_size = 1;
  DType real = DType::f32;                      ///< f64 for checks
  std::optional<DType> compute = std::nullopt;  ///< bf16 for mixed precision; absent: `real`
  models::Segments segments = models::Segments::kSeveral;
};

Axis batch_axis(const StepShape& shape);
Axis position_axis(const StepShape& shape);
/// i32 [batch, position].
Type token_type(const StepShape& shape);

/// A model to trace: its family and its configuration.
struct ModelSpec {
  const models::ModelEntry& family;
  const ModelConfig& config;
  /// Some of which may be frozen; null for none.
  std::shared_ptr<const optim::Groups> groups = {};
  /// What the model has beside its own parameters, which are then frozen; null for nothing.
  const nn::Adapter* adapter = nullptr;
  std::optional<DType> frozen = {};  ///< what frozen matrices are held in: see nn::Adapted
};

/// Rows of a microbatch: `arrays` from row `first` on.
struct Rows {
  const data::Example& arrays;
  int64_t first = 0;
  int64_t first_example = 0;  ///< global index of that row: what its dropout keys derive from
};

/// A function being traced, the model's parameters declared as its first arguments.
struct Tracing {
  Tracing(std::string name, const ModelSpec& spec, const StepShape& shape);
  Tracing(const Tracing&) = delete;
  Tracing& operator=(const Tracing&) = delete;
  Function function;
  std::vector<nn::Param> params;
  nn::Adapted adapted;
  std::unique_ptr<models::LanguageModel> model;
  models::BatchInputs inputs;  ///< arguments of the function from the first that is asked for on
};

/// The head's logits, [..., vocab], of a final hidden state.
NamedArray logits_of(const models::LanguageModel& model, NamedArray hidden);

/// Losses without gradients or dropout.
///   arguments  parameters; what the objective asks for
///   results    token_loss [batch, position]
Function trace_evaluation(const ModelSpec& model, const StepShape& shape,
                          const models::Objective& objective);

/// The next token's logits.
///   arguments  parameters; adapter i32 [batch], where rows choose one; tokens segment_ids
///              positions; last i32 [batch], each row's last index
///   results    logits [batch, vocab]
Function trace_next_logits(const ModelSpec& model, const StepShape& shape);

/// The logits after the next piece of each text, whose earlier pieces are in caches.
///   shape      of the piece: any number of positions
///   arguments  parameters; adapter i32 [batch], where rows choose one; tokens positions
///              [batch, position], a position below 0 for no token;
///              last i32 [batch], the index in the piece of each row's last token; the caches of
///              `room` tokens, which become the updated ones
///   results    the caches; logits [batch, vocab]
Function trace_decode(const ModelSpec& model, const StepShape& shape, int64_t room);

/// What an adapter makes of its model's matrices.
///   arguments  parameters
///   results    those that it adapts, by their names, as nn::Adaptation::merged, in their place
Function trace_merge(const ModelSpec& model, const StepShape& shape);
/// Where the adapter's parameters begin that depend on the model's: as trace_merge.
///   elsewhere  paths of parameters that are left out
Function trace_beginnings(const ModelSpec& model, const StepShape& shape,
                          const std::set<std::string>& elsewhere = {});

/// The parameters alone, in order of declaration.
std::vector<nn::Param> trace_params(const ModelSpec& model, const StepShape& shape);

/// Parameters multiplied for a token: all but lookup-only tables, and of those of experts the given
/// share; a tied head counts once.
int64_t multiplied_parameters(const std::vector<nn::Param>& params, double expert_share = 1);
/// 6 N + 12 L heads head_dim T, forward and backward; of parameters that are not trained 4 N.
double flops_per_token(const ModelSpec& model, const std::vector<nn::Param>& params,
                       int64_t position);

}  // namespace levanter::infer

// The traced functions of a training step, of evaluation and of generation.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "models/model.h"
#include "nn/scope.h"
#include "ops/function.h"
#include "optim/optimizer.h"

namespace levanter::train {

/// What a function is traced for.
struct StepShape {
  int64_t batch = 1;        ///< sequences of one microbatch
  int64_t position = 1;     ///< tokens of a sequence
  int64_t vocab_size = 1;
  DType real = DType::f32;  ///< f64 for checks
};

/// A model to trace: its family and its configuration.
struct ModelSpec {
  const models::ModelEntry& family;
  const ModelConfig& config;
};

/// Whether a microbatch's gradients begin the accumulators or are added to them.
enum class Accumulate { kFirst, kNext };

/// Loss and gradients of one microbatch.
///   arguments  parameters; tokens targets segment_ids positions i32 [batch, position];
///              loss_weight [batch, position]; dropout_keys u32 [batch, key_word];
///              inverse_tokens, 1 over the loss tokens of the global batch;
///              with kNext the accumulators, one a parameter, and the loss so far
///   results    one gradient a parameter, in its axes, then the loss: the sum over the microbatch
///              of loss_weight * token loss * inverse_tokens; with kNext added to the accumulators
struct TracedFunction {
  Function function;
  std::vector<nn::Param> params;
};
TracedFunction trace_gradients(const ModelSpec& model, const StepShape& shape, Accumulate mode);

/// The update of all parameters.
///   arguments  parameters; gradients; state arrays (of the first parameter, of the second, ...);
///              loss; lr; the optimizer's own scalars
///   results    parameters and state (donated, in the same order), grad_norm, proceed
/// `proceed` is 1 when loss and norm are finite; when it is 0 no bit of the state changes.
Function trace_update(const ModelSpec& model, const StepShape& shape,
                      const optim::OptimizerEntry& optimizer, const OptimizerConfig& config);

/// Losses without gradients or dropout.
///   arguments  parameters; tokens targets segment_ids positions
///   results    token_loss [batch, position]
TracedFunction trace_evaluation(const ModelSpec& model, const StepShape& shape);

/// The next token's logits.
///   arguments  parameters; tokens segment_ids positions; last i32 [batch], each row's last index
///   results    logits [batch, vocab]
TracedFunction trace_next_logits(const ModelSpec& model, const StepShape& shape);

/// The parameters alone, in order of declaration.
std::vector<nn::Param> trace_params(const ModelSpec& model, const StepShape& shape);

/// Parameters multiplied for a token: all but lookup-only tables; a tied head counts once.
int64_t multiplied_parameters(const std::vector<nn::Param>& params);
/// 6 N + 12 L heads head_dim T, forward and backward.
double flops_per_token(const ModelSpec& model, const std::vector<nn::Param>& params,
                       int64_t position);

}  // namespace levanter::train

// The traced functions of a training step: gradients of a microbatch, and the update.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "infer/trace.h"
#include "optim/assignment.h"

namespace levanter::train {

using infer::ModelSpec;
using infer::Rows;
using infer::StepShape;

/// Whether a microbatch's gradients begin the accumulators or are added to them.
enum class Accumulate { kFirst, kNext };

/// Names of the functions' arguments.
std::string sum_name(std::string_view result);
std::string grad_name(std::string_view path);
std::string state_name(std::string_view path, std::string_view state);
std::string square_name(std::string_view path);

/// What is measured of some steps besides.
struct StepWatch {
  int64_t every = 0;  ///< steps; 0: none does
  bool grad_norm = false, param_norm = false, update_ratio = false, attention = false;
  std::shared_ptr<const optim::Pattern> match = {};  ///< of whose paths; null: of all

  /// Whether updates measure something.
  bool any() const { return every > 0 && (grad_norm || param_norm || update_ratio); }
  /// Whether step number `step`, from 0, is measured.
  bool due(int64_t step) const { return every > 0 && (step + 1) % every == 0; }
  bool covers(std::string_view path) const { return !match || match->found_in(path); }
  /// The metrics of a parameter: watch/grad_norm/<path>, the norm of its gradient before it is
  /// clipped; watch/param_norm/<path>, its own after the update; watch/update_ratio/<path>, that of
  /// its change by its own.
  std::vector<std::string> metrics(std::string_view path) const;
};

/// Loss and gradients of one microbatch.
///   arguments  parameters; what the objective asks for; with kNext the accumulators, sum_name of
///              each result
///   results    one gradient a parameter that is trained, in its axes; the objective's loss; its
///              measures by name, each times the microbatch's share of the loss tokens; with kNext
///              added to the accumulators; of `watch`, for each module of attention that it covers
///              watch/attention_entropy/<module>, the mean over the microbatch's queries, padding
///              aside, and their heads of the entropy in nats of what they attend to, before
///              dropout, and watch/attention_max_logit/<module>, their largest score; scalars
/// The gradients are those of the loss and of the measures times their coefficients. A gradient is
/// called as its parameter is, by its path.
Function trace_gradients(const ModelSpec& model, const StepShape& shape,
                         const models::Objective& objective, Accumulate mode,
                         const StepWatch& watch = {});
/// The paths of a model's modules of attention.
std::vector<std::string> attention_modules(const ModelSpec& model, const StepShape& shape);

/// The parameters that are trained, in order of declaration.
std::vector<nn::Param> trained(const std::vector<nn::Param>& params);

/// Which parameters that are trained a rank updates, in order; none where it updates them all.
using Owned = std::vector<bool>;

/// The sum of squares of each gradient of a rank's own parameters.
///   arguments  parameters; gradients, grad_name of each
///   results    square_name of each, scalars
Function trace_squares(const ModelSpec& model, const StepShape& shape, const Owned& owned);

/// The update of the parameters that are trained and owned; gradients are first scaled down
/// together to the config's max_grad_norm.
///   arguments  parameters, all of them; gradients, grad_name of each; state arrays, state_name of
///              each; where others are owned elsewhere, square_name of each that is trained; loss;
///              lr; the optimizers' own scalars; with `limits` loss_limit, norm_limit
///   results    parameters and state (donated, in the same order), grad_norm, proceed; the metrics
///              of `watch`, scalars, parameter by parameter
/// `proceed` is 1 when loss and norm are finite and at most their limits; when it is 0 no bit of
/// the state changes.
Function trace_update(const ModelSpec& model, const StepShape& shape,
                      const optim::Assignment& optimizer, bool limits = false,
                      const Owned& owned = {}, const StepWatch& watch = {});

/// What the optimizers change of their state by such a gradient, besides the update.
///   arguments  as trace_update's, with state of refreshed parameters only; inverse_tokens
///   results    state that is refreshed (donated), as it was where the step does not proceed
Function trace_refresh(const ModelSpec& model, const StepShape& shape,
                       const optim::Assignment& optimizer, optim::Refresh::By by,
                       bool limits = false, const Owned& owned = {});

}  // namespace levanter::train

// The traced functions of a training step: gradients of a microbatch, and the update.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
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
std::string rows_name(std::string_view path);

/// Rows of a parameter that a rank updates: see optim::Assignment::rows, of which 1 is all of it.
struct Piece {
  size_t param = 0;  ///< its index among all
  int64_t begin = 0, end = 0;
  bool operator==(const Piece&) const = default;
};
/// What of the parameters a rank updates, in order; nothing where it updates them all.
using Pieces = std::optional<std::vector<Piece>>;
/// All that are trained.
std::vector<Piece> whole_pieces(const std::vector<nn::Param>& params,
                                const optim::Assignment& optimizer);
/// A piece as a parameter by itself, `rows` being all that it is cut from; the parameter itself
/// where it has them all.
nn::Param piece_of(nn::Param param, int64_t rows, const Piece& piece);

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
  /// Sums over each row of a parameter: of its gradient before that is clipped, of itself after the
  /// update, of its change.
  enum class Squares : uint8_t { kGradient, kParameter, kChange };
  /// What updates measure of a parameter.
  std::vector<Squares> squares(std::string_view path) const;
};
std::string watched_name(std::string_view path, StepWatch::Squares squares);

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

/// The sums of squares of a rank's own gradients, row by row.
///   arguments  parameters; gradients of the rank's pieces, grad_name of each
///   results    square_name of each, [row]; a scalar where the parameter has one
Function trace_squares(const ModelSpec& model, const StepShape& shape,
                       const optim::Assignment& optimizer, const Pieces& own);

/// The update of what is trained and the rank's own; gradients are first scaled down together to
/// the config's max_grad_norm, whose norm is the root of the sum of all rows' squares.
///   arguments  parameters, all of them; of each piece its rows (rows_name, where it has not all)
///              and its gradient, grad_name; state arrays, state_name of each; where others are
///              elsewhere, square_name of each parameter that is trained; loss; lr; the optimizers'
///              own scalars; with `limits` loss_limit, norm_limit
///   results    the pieces and state (donated, in the same order), grad_norm, proceed;
///              watched_name of what `watch` measures, piece by piece, [row] or scalars
/// `proceed` is 1 when loss and norm are finite and at most their limits; when it is 0 no bit of
/// the state changes.
Function trace_update(const ModelSpec& model, const StepShape& shape,
                      const optim::Assignment& optimizer, bool limits = false,
                      const Pieces& own = {}, const StepWatch& watch = {});

/// What the optimizers change of their state by such a gradient, besides the update.
///   arguments  as trace_update's, with state of refreshed parameters only; inverse_tokens
///   results    state that is refreshed (donated), as it was where the step does not proceed
Function trace_refresh(const ModelSpec& model, const StepShape& shape,
                       const optim::Assignment& optimizer, optim::Refresh::By by,
                       bool limits = false, const Pieces& own = {});

}  // namespace levanter::train

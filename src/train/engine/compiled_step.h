// The compiled functions of a run and every byte that they need, known without allocating any.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "runtime/executable.h"
#include "dist/gradient_sum.h"
#include "dist/gradient_tree.h"
#include "dist/parameter_gather.h"
#include "infer/batch_layout.h"
#include "infer/packing.h"
#include "infer/generation.h"
#include "infer/parameter_store.h"
#include "train/engine/step.h"

namespace levanter::train {

/// What a step is compiled for on one rank.
struct StepOptions {
  ModelSpec model;
  StepShape shape;
  std::shared_ptr<const optim::Assignment> optimizer;
  int64_t microbatches = 1;  ///< of the global batch, U
  int64_t groups = 1;        ///< in which they are summed, G
  int64_t ranks = 1, rank = 0;
  dist::Sharding sharding = dist::Sharding::kNone;
  std::shared_ptr<const models::Objective> objective = models::objectives::make("lm");
  /// Of labels that the model draws, where an optimizer asks for their gradient: the same measures.
  std::shared_ptr<const models::Objective> drawn = models::objectives::make("drawn_labels");
  StepWatch watch = {};
  infer::TextRoom samples = {};  ///< of what the first rank's model writes meanwhile
  bool limits = false;   ///< whether a loss or norm above a limit keeps a step from being taken
  bool optimise = true;  ///< false: node by node as traced (--eager)
  bool fuse = true;      ///< of what is optimised; no bit depends on it
  bool debug = false;    ///< every run checks its memory: see runtime/memory_check.h
  std::optional<uint64_t> schedule_seed = {};  ///< draws the order of the steps
};

/// What a flat array holds after the parameters: the loss, or a measure of the model.
struct Reported {
  std::string name;
  int64_t elements = 1;
};

/// Places in a flat array of f32: the parameters that are trained, then the loss and the measures,
/// one after the other, each from a multiple of 64 bytes. That is an array of gradients; in the
/// array of the parameters those that are not trained follow.
struct FlatLayout {
  std::vector<int64_t> offsets;    ///< in elements, one a parameter, then one a report
  std::vector<Reported> reported;  ///< the first is the loss
  int64_t elements = 0;            ///< of an array of gradients
  int64_t all_elements = 0;        ///< of the array of parameters
  int64_t offset_of(size_t report) const {
    return offsets[offsets.size() - reported.size() + report];
  }
  int64_t bytes() const { return elements * 4; }
};

/// Places of the optimizer's state: what it keeps under one name is one flat array of f32, a
/// piece's after another's as in FlatLayout, room for the reports included.
struct StateLayout {
  struct Part {
    std::string name;
    int64_t elements = 0;
    int64_t bytes() const { return elements * 4; }
  };
  struct Place {
    Piece piece;
    optim::StateArray array;  ///< of that piece
    size_t part = 0;
    int64_t offset = 0;  ///< in the part, in elements
  };
  std::vector<Part> parts;    ///< in the order in which their names are first said
  std::vector<Place> places;  ///< piece by piece
};

/// Bytes that a rank sends to the others in a step, by what they are of.
struct SentBytes {
  int64_t gathers = 0;     ///< its parameters, to be read in the microbatches
  int64_t gradients = 0;   ///< partial sums; where nothing is sharded, its part of the sum too
  int64_t norm = 0;        ///< its parts of the norm and of the reports
  int64_t parameters = 0;  ///< those that it has updated for all
  int64_t total() const { return gathers + gradients + norm + parameters; }
};

/// One line of the memory plan.
struct MemoryLine {
  std::string what;
  int64_t bytes = 0;
};

class CompiledStep {
 public:
  CompiledStep(StepOptions options, const Backend& backend)
      : CompiledStep(options, backend, nullptr) {}
  /// The same from a step that differs at most in its microbatch, their number and grouping and in
  /// what is computed again: its functions that are as wanted are taken and not compiled again.
  CompiledStep(StepOptions options, const Backend& backend, CompiledStep&& former)
      : CompiledStep(options, backend, &former) {}

  StepOptions options;
  std::vector<nn::Param> params;
  FlatLayout layout;
  dist::GroupRange groups;  ///< this rank's
  dist::TreeSchedule tree;

 private:
  std::vector<int64_t> rows_;  ///< of each parameter: see optim::Assignment::rows
  /// What each rank updates, in order; none where each updates all.
  std::vector<std::vector<Piece>> pieces_;
  int64_t link_bytes_;  ///< of the device's: see DeviceNetwork
  int64_t sample_bytes_;
  std::vector<std::string> watched_attention_;

 public:
  StateLayout state;                         ///< of this rank's pieces
  std::vector<dist::Shard> shards;           ///< of a flat array of gradients, each rank's
  Executable gradients;                      ///< a group's first microbatch
  std::optional<Executable> gradients_next;  ///< the others, when a group has more than one
  std::optional<Executable> squares;         ///< where this rank owns some parameters alone
  Executable update;
  std::optional<Executable> watched_update;  ///< at the steps of options.watch
  /// Then, where attention is watched: the step's first microbatch, which the first rank has.
  std::optional<Executable> watched_gradients;
  /// In steps where they are due: by the step's gradient before the update, and by that of drawn
  /// labels after it, which is computed as that of the loss is.
  std::optional<Executable> first_refresh, refresh, refresh_drawn, drawn, drawn_next;
  /// Where some parameters of an adapter begin as the model's say.
  std::optional<Executable> beginnings;
  Executable evaluation;
  infer::BatchLayout batch;  ///< the arrays of a microbatch that the functions read
  infer::Packing packing;    ///< of the weights that the functions read packed
  std::optional<Executable> pack, pack_frozen;  ///< of what is trained and what is not

  /// Whether this rank updates a part of the parameters.
  bool is_sharded() const { return options.sharding != dist::Sharding::kNone && options.ranks > 1; }
  /// Whether it also has no others, and gathers those where they are read.
  bool gathers() const {
    return options.sharding == dist::Sharding::kParameters && options.ranks > 1;
  }
  /// Then: the rank that has each argument which is gathered.
  dist::Owners owners() const;
  /// What a rank updates, in order.
  std::vector<Piece> pieces_of(int64_t rank) const;
  /// Whether it is a whole parameter.
  bool is_whole(const Piece& piece) const { return piece.end - piece.begin == rows_[piece.param]; }
  /// Elements of its parameter before a piece.
  int64_t first_element(const Piece& piece) const { return piece.begin * row_size(piece.param); }
  /// Values that a watched step measures on a rank: of attention on the first, then for each piece
  /// what StepWatch::squares says, of each of its rows.
  int64_t watched_values(int64_t rank) const;
  const std::vector<std::string>& watched_attention() const { return watched_attention_; }
  /// The metrics that follow from all ranks' values, one rank's after the other's:
  /// watch/grad_norm/<path>, the norm of a gradient before it is clipped; watch/param_norm/<path>,
  /// of the parameter after the update; watch/update_ratio/<path>, of its change by that.
  std::vector<std::pair<std::string, double>> watched_metrics(std::span<const float> values) const;
  /// The others' parameters, which this rank has not.
  std::set<std::string> elsewhere() const;
  /// Where a rank has its parameters.
  infer::ParameterLayout parameters_of(int64_t rank) const;
  /// Of the array of this rank's parameters: those that are trained, which it begins with.
  int64_t held_elements() const;
  /// Microbatches of a step of so many that this rank takes part in: its own, or where parameters
  /// are gathered as many as the rank with most of them has.
  int64_t rounds(int64_t microbatches) const;
  /// Of the largest step, as all are without a schedule of batch sizes.
  int64_t rounds() const { return rounds(options.microbatches); }
  /// Places in the flat array that then tells all ranks the norm of the gradients: of each that is
  /// trained, in order, the sums of squares of its rows, then the reports; and each rank's part.
  int64_t norm_place(size_t param) const;
  int64_t norm_reports() const;
  int64_t norm_elements() const;
  std::vector<dist::Shard> norm_shards() const;

  /// Flat gradient arrays: the one being accumulated and the stack of partial sums.
  int64_t gradient_buffers() const { return groups.size() == 1 ? 1 : 1 + tree.depth; }
  /// Room for the scalars of a step: six and the optimizers' own.
  static constexpr int64_t kScalars = 64;
  /// Arrays of one microbatch, the scalars of a step, and the losses of evaluation's tokens.
  int64_t input_bytes() const;
  /// What lives from step to step, line by line: parameters and their packed forms, state,
  /// gradients, inputs, constants.
  std::vector<MemoryLine> persistent() const;
  int64_t persistent_bytes() const;
  /// What the first rank takes for options.samples.
  int64_t sample_bytes() const { return sample_bytes_; }
  /// Those of another rank of the same run.
  int64_t persistent_bytes_of(int64_t rank) const;
  /// What a rank sends to the others in a step: of the gradients, one partial sum for each of its
  /// subtrees; then its shard of the sum, or of the parameters. With one subtree a rank and equal
  /// shards that is what a ring sends, 2 (N - 1) / N of an array. A parameter that is gathered goes
  /// to all others as often as a microbatch gathers it; those of drawn labels are not counted.
  SentBytes sent_bytes_of(int64_t rank) const;
  int64_t arena_bytes() const;
  int64_t workspace_bytes() const;
  int64_t first_run_bytes() const;
  /// Bytes of parameters and optimizer state: what a checkpoint holds of one rank that has all, but
  /// for the model under an adapter.
  int64_t state_bytes() const;
  /// Bytes that this rank writes of a checkpoint.
  int64_t save_bytes() const { return save_bytes_of(options.rank); }
  int64_t save_bytes_of(int64_t rank) const;
  int64_t parameter_count() const;
  /// Of one token, forward and backward.
  double flops_per_token() const;

 private:
  std::vector<const Executable*> executables() const;
  /// What a rank keeps for its optimizer.
  int64_t optimizer_bytes(int64_t rank) const;
  infer::Packing packing_of(int64_t rank) const;
  int64_t row_size(size_t param) const { return params[param].type.elements() / rows_[param]; }
  /// What this rank updates; nothing where it updates them all.
  Pieces own() const;
  int64_t parameter_bytes(int64_t rank) const { return parameters_of(rank).elements * 4; }
  int64_t frozen_bytes() const { return (layout.all_elements - layout.elements) * 4; }
  /// The model under an adapter by what it is held in; nothing without an adapter.
  std::vector<MemoryLine> base() const;
  int64_t base_bytes() const;
  /// Of what ranks hold more or less of: that, their parameters, the shards that they add up, and
  /// the stack of partial sums.
  int64_t differing_bytes(int64_t rank) const;

  CompiledStep(const StepOptions& options, const Backend& backend, CompiledStep* former)
      : CompiledStep(
            options, backend, former,
            trace_gradients(options.model, options.shape, *options.objective, Accumulate::kFirst)) {
  }
  CompiledStep(const StepOptions& options, const Backend& backend, CompiledStep* former,
               Function first);
};

/// Copies of live state that a save may stage before an update: see CheckpointWriter.
int64_t staging_bytes(int64_t state_bytes);

}  // namespace levanter::train

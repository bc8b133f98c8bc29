// Training examples of several components: windows or packed rows, shuffled, and mixed by weight.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/random.h"
#include "data/rows/mixture.h"
#include "data/rows/packing.h"
#include "data/rows/shuffle.h"
#include "data/token_stream.h"

namespace levanter::data {

/// How the documents of a component become rows.
struct RowSpec {
  /// Whole documents packed into rows; absent: windows over all documents. seq_len is not read.
  std::optional<PackOptions> pack = {};
  DocumentBorders borders = {};  ///< of windows

  bool pairs() const { return pack && pack->pairs; }
};

/// A component as token streams; either may be empty.
struct ComponentStreams {
  std::string name;
  std::shared_ptr<const TokenStream> train, validation;
  RowSpec rows = {};
  /// Of pairs, what their tokens have under the reference model; null: not known.
  std::shared_ptr<const TokenValues> train_references = nullptr, validation_references = nullptr;
};

/// Shares by component name, from a row on.
struct WeightStage {
  int64_t first_row = 0;
  std::map<std::string, double> weights;  ///< components that are not named have 0
};

struct MixtureSpec {
  std::vector<WeightStage> stages;
  StopStrategy stop = StopStrategy::kRestart;
  int64_t block_size = 2048;
};

struct TrainingOptions {
  int64_t seq_len = 0;
  Key key = {};
  ShuffleSpec shuffle = {};
  /// Absent: every row of every component once an epoch, shuffled together.
  std::optional<MixtureSpec> mixture = {};
  /// Rows of a component that are used at most, its first ones.
  std::map<std::string, int64_t> most_rows = {};
  /// The share of every component's rows that is used, so that a short run repeats its data as
  /// often as a long one would.
  double share_of_rows = 1;
};

/// Row g of the result is a function of g, the streams and the options.
///   windows  cut anew each epoch, at an offset drawn from fold_in(key, epoch)
///   packs    fixed; the same rows in every epoch, in another order
/// Without a mixture, row g belongs to epoch g / epoch_length. With one, each component counts its
/// own epochs, and epoch_length is the rows of all components together.
/// error  kData when there is nothing to train on; kConfig for a mixture of unknown names, and for
///        weights that make none
ExampleSource training_rows(std::span<const ComponentStreams> components,
                            const TrainingOptions& options);

/// The rows of one component that training_rows takes in an epoch.
int64_t training_row_count(const ComponentStreams& component, const TrainingOptions& options);
/// Of these, in the first epoch, those in which nothing is learned: windows without a target that
/// weighs something. They cost a row each and their loss is 0.
int64_t empty_training_rows(const ComponentStreams& component, const TrainingOptions& options);

/// The rows of validation: windows that make each token but the first a target once, or packs.
ExampleSource validation_rows(const ComponentStreams& component, int64_t seq_len);

}  // namespace levanter::data

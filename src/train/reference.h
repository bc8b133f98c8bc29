// What the answers of pairs have under the model that preferences are measured from: computed once,
// kept in files beside the token caches, read at every later start.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "dist/crew.h"
#include "train/start.h"

namespace levanter::train {

/// The model that preferences are measured from. All calls are collective.
class ReferenceModel {
 public:
  virtual ~ReferenceModel() = default;
  /// The hash of its parameters, on every rank.
  virtual std::string checksum() = 0;
  /// From here to `end` the engine's evaluations are the reference's.
  virtual void begin() = 0;
  virtual void end() = 0;
};

/// Where the run's objective compares with a reference: fills in run.reference, the checksum of
/// that model, and lets the run's data know the log-probabilities that it gives to the tokens of
/// pairs. They are read from
///   <data.cache_dir>/<component>/references/<fingerprint>.safetensors
/// or, without a cache, from <run>/references/<component>/, and computed where they are missing.
/// The fingerprint is of all that decides them: the model's parameters and what is computed with
/// them, the answers' tokens and weights, the length of rows and what is kept of long answers, the
/// numerics. Collective; the crew is followed.
///   messages  rank 0's, for people
/// error  kSignal, between two microbatches, once some rank was asked to stop; kCheckpoint where
///        they are missing and the model that the run was begun with is not there any more
void know_references(Run& run, Engine& engine, dist::Crew& crew,
                     std::vector<std::string>& messages);

}  // namespace levanter::train

// What rank 0 finds out when a run starts, and tells the other ranks.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "dist/communicator.h"
#include "train/config/train_config.h"
#include "train/guard/rollbacks.h"
#include "train/run.h"

namespace levanter::train {

/// All that a rank has to know besides its config to begin as rank 0 does. Names of files are rank
/// 0's; every process reads them itself.
struct Decision {
  /// Set where there is nothing to train: what the run ends with.
  std::optional<Outcome> outcome = {};
  int64_t num_train_steps = 0;  ///< epochs are counted
  /// The key that says how long the run is.
  std::string length_key = "trainer.num_train_steps";
  int64_t start_step = 0;
  int64_t first_step = 0;                  ///< steps of another run that it was begun with
  bool resumes = false;                    ///< the state is that of a checkpoint of its own
  Rollbacks rollbacks = {};                ///< of the run, so far
  std::string checkpoint = {};             ///< the folder step-N that the state is read from, or ""
  bool restore_optimizer = true;           ///< and not the model alone
  std::string hf_folder = {};              ///< or where the model is read from, or ""
  StartKind base_kind = StartKind::kNone;  ///< of the frozen model under an adapter,
  std::string base_place = {};             ///< which is there
  int64_t vocab = 0;
  /// What the texts' caches are read with, in JSON; "" where every process reads the texts.
  std::string tokenizer = {};
  int64_t need = 0;  ///< bytes of all ranks, by the plan; 0 before there is one
  // What has to be the same on every rank, and would else be found out by wrong bits.
  std::string config = {};    ///< resolved
  std::string data = {};      ///< the record of the texts' content
  std::string numerics = {};  ///< what the bits depend on
};

/// Rank 0's decision on every rank. Collective.
Decision tell(dist::Communicator& communicator, const Decision& decision);
/// What the run ends with, as rank 0 says it, on every rank. Collective.
Outcome tell(dist::Communicator& communicator, Outcome outcome);

}  // namespace levanter::train

// What a run begins with: the checkpoint or folder that it goes on from, its texts, its step.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "base/random.h"
#include "checkpoint/load.h"
#include "compat/hf_folder.h"
#include "data/text_data.h"
#include "dist/crew.h"
#include "train/adapter/base.h"
#include "train/decision.h"
#include "train/engine/engine.h"
#include "train/run.h"
#include "train/run_folder.h"

namespace levanter::train {

/// What a rank reads and never changes.
struct Opened {
  std::shared_ptr<const data::TextData> data = nullptr;
  std::shared_ptr<const Checkpoint> from = nullptr;       ///< what the state is read from
  std::shared_ptr<const compat::HfWeights> hf = nullptr;  ///< or where the model is read from
  BaseModel base = {};  ///< or, under an adapter, where the frozen model is
};

/// What the ranks of one process share: files that are opened once.
class Process final {
 public:
  /// What `open` gave to the first rank that asked at this start of the run, or gives now.
  Opened once(int64_t start, const std::function<Opened()>& open);

 private:
  std::mutex mutex_;
  std::optional<Opened> opened_;
  int64_t start_ = 0;
};

/// A run as one rank sees it.
struct Run {
  const TrainConfig& given;  ///< outlives what is opened
  const RunOptions& options;
  int64_t rank = 0;
  std::vector<dist::Place> places = {};  ///< where each rank runs
  size_t device = 0;                     ///< that this one takes: see train/ranks/devices.h
  dist::Crew* helpers = nullptr;  ///< rank 0, until it has decided: the others, who encode texts
  int64_t start = 0;              ///< how often this process has begun it before
  TrainConfig config = given;     ///< with the steps that are decided
  std::unique_ptr<Backend> backend = nullptr;
  std::optional<CompiledStep> step = {};
  Opened opened = {};
  Decision decision = {};
  std::string reference = {};  ///< the model that preferences are measured from: see reference.h
  BaseRecord base = {};        ///< of an adapter, once the state is restored
  bool resumes = false;        ///< rank 0: what is read from is the run's own checkpoint
  BestCheckpoint kept = {};    ///< rank 0: the best one that is there
  Key root = key_from_seed(static_cast<uint64_t>(given.trainer.seed));
};

/// Makes the backend of a rank.
/// error  kConfig where it cannot do what the config asks of it
void make_backend(Run& run);

/// Refuses a config that can't continue the checkpoint's run; returns the checkpoint's own.
TrainConfig refuse_differences(const TrainConfig& config, const Checkpoint& checkpoint);

/// What the checkpoint says besides its tensors.
nlohmann::json extra_of(const Run& run);

/// Rank 0 of a run that may be new, before its folder is made: a mistake in the texts leaves no
/// trace. Counts the steps of its epochs and says them.
void read_early(Run& run, std::vector<std::string>& messages);

/// Rank 0: chooses the checkpoint to go on from, if any: the run's own, else the one that
/// start_from names. Those that rollbacks have abandoned are removed first.
void choose_start(Run& run, const RunFolder& folder, std::vector<std::string>& messages);

/// Rank 0: reads the texts with the tokenizer of the chosen start, unless they are read; a resumed
/// run goes on with the data that it was begun with.
/// error  kData naming what differs
void read_chosen(Run& run, std::vector<std::string>& messages);

/// Rank 0: fills in the decision and leaves what is open to the others of its process.
void decide(Run& run, Process& process, const dist::Communicator& communicator);

/// Another rank, until rank 0 has decided: encodes texts for the token caches that it makes.
void help(const Run& run, dist::Crew& crew);

/// Another rank: begins as the decision says, with what its process has opened.
/// error  kConfig, kData, kDevice where its config, texts or numerics are not rank 0's
void follow(Run& run, Process& process);

/// Each rank but rank 0, which has asked before: error  kDevice where what it needs of a device of
/// its own is not there, or on the first rank of a machine what all there need
void require_room(const Run& run);

/// Says where the bits will differ from those of the checkpoint's machine.
/// error  kCheckpoint with trainer.require_same_bits
void check_numerics(const Run& run, std::vector<std::string>& messages);

/// Fills an engine with the state that the run begins with.
void restore(Run& run, Engine& engine);
/// Fills it with the parameters that the run would begin with if it had no checkpoint of its own.
void restore_initial(const Run& run, Engine& engine);

}  // namespace levanter::train

// From a config to what a run is made of: the data, the vocabulary, the model to trace.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include "data/text_data.h"
#include "train/engine/compiled_step.h"
#include "train/config/train_config.h"

namespace levanter::train {

/// The part of the data that is wanted.
enum class DataPart { kAll, kHeldOut };

/// How the ranks of a run share the work of opening it.
struct SharedOpening {
  dist::Crew* crew = nullptr;  ///< the first rank's: who helps it to make token caches
  bool checked = false;        ///< another rank: the first has checked what it opens
};

/// The texts that the config names, tokenised, or their caches; with the tokenizer of a checkpoint
/// where given. The config must outlive the data. `report` hears of caches that are made.
/// kHeldOut leaves training texts alone that no validation is cut from.
std::unique_ptr<data::TextData> load_data(const TrainConfig& config,
                                          std::shared_ptr<const text::Tokenizer> saved = nullptr,
                                          data::CacheReport report = {},
                                          DataPart part = DataPart::kAll,
                                          const SharedOpening& shared = {});

/// The same by all ranks of a launcher, of which the first gets the data and the others null: they
/// help it to make token caches. Collective.
std::unique_ptr<data::TextData> load_data_together(const TrainConfig& config,
                                                   dist::Communicator& communicator,
                                                   data::CacheReport report);

/// Threads of the rank number `rank`: trainer.threads, else its share of the processors that its
/// process may use.
int threads_of_rank(const TrainConfig& config, std::span<const dist::Place> places, int64_t rank);

/// Another rank than the first, until that has its data: encodes texts for token caches, on so many
/// threads.
void serve_encoding(dist::Crew& crew, const TrainConfig& config, int threads);

/// The tokenizer that the config describes; null for a kind whose vocabulary comes from the texts.
std::shared_ptr<const text::Tokenizer> open_tokenizer(const TrainConfig& config);
/// The same, but from the texts where it must be: they are read, and nothing is tokenised.
std::shared_ptr<const text::Tokenizer> find_tokenizer(const TrainConfig& config);

/// The steps of trainer.num_train_epochs, which is set: as many batches as hold the rows of that
/// many epochs, rounded up; at least 1.
int64_t steps_of_epochs(const TrainConfig& config, const data::TextData& data);

/// What the data of a run's training are made of; `key` is that of the data.
data::TrainingOptions training_options(const TrainConfig& config, Key key);

/// The size of the vocabulary: model.vocab_size, else the tokenizer's (null: what the config alone
/// says of it). Error kConfig when neither is known, or when model.vocab_size is too small.
int64_t vocab_size(const TrainConfig& config, const text::Tokenizer* tokenizer);
/// Why model.vocab_size is too small for a tokenizer of `tokens` tokens; nothing where it is not.
struct SmallVocabulary {
  std::string message, allowed, hint;
};
std::optional<SmallVocabulary> small_vocabulary(const TrainConfig& config, int64_t tokens);
/// The same as vocab_size without errors: nothing when it is not known.
std::optional<int64_t> known_vocab_size(const TrainConfig& config,
                                        const text::Tokenizer* tokenizer);

ModelSpec model_spec(const TrainConfig& config);

/// The key that the parameters of a run are drawn with where they begin.
Key init_key(const TrainConfig& config);

/// What the bits of a run depend on besides its config and its data.
std::string numerics_of(const TrainConfig& config, const Backend& backend);

/// Error kConfig where parameters are to be gathered in memory that the host does not read.
void require_shard(const TrainConfig& config, const Backend& backend);

/// What rank `rank` compiles.
StepOptions step_options(const TrainConfig& config, int64_t vocab_size, int64_t rank,
                         bool optimise = true);

/// What ranks of a run hold together.
struct MemoryTotal {
  int64_t persistent = 0, arena = 0, workspace = 0;  ///< where kernels work
  int64_t first_run = 0;                             ///< there too, for a moment at the beginning
  /// Of these four what the rank with most of them needs: each has a device of its own, if any.
  int64_t of_a_device = 0;
  int64_t samples = 0;           ///< there too, while the first rank's model writes: trainer.sample
  int64_t loader = 0, save = 0;  ///< in the host's memory, always
  int64_t total() const { return persistent + arena + workspace + first_run + samples + loader; }
  /// What must fit: the total, and the copies that a save stages.
  int64_t needed() const { return total() + save; }
};
/// Of these ranks of the run, which share a machine.
MemoryTotal memory_total(const CompiledStep& step, const TrainConfig& config,
                         std::span<const int64_t> ranks);
/// The rank that needs the most.
int64_t neediest_rank(const CompiledStep& step, const TrainConfig& config);
/// Of all ranks; of the neediest where they are processes, which may have a machine each.
MemoryTotal memory_total(const CompiledStep& step, const TrainConfig& config);

/// What a run needs of a memory, and what it may take.
struct MemoryNeed {
  std::string name;  ///< "cuda's memory"
  int64_t needed = 0, limit = 0;
  bool fits() const { return needed <= limit; }
};
/// Of the one memory that there is, or where devices have their own of that of each and of the
/// host's.
///   own  what the device called `device` has, if it has memory of its own
std::vector<MemoryNeed> memory_needs(const MemoryTotal& total, const std::string& device,
                                     std::optional<int64_t> own, int64_t host_limit);

/// Throws where a run of this step does not fit, before it takes memory. Of its ranks those count
/// that are given, else as memory_total says.
/// error  kDevice naming what it needs and what there is
void require_memory(const TrainConfig& config, const CompiledStep& step, const Backend& backend,
                    std::span<const int64_t> ranks = {});

/// Bytes of memory that a run may take here: the machine's, the control group's limit or what the
/// limits of address space and data leave, whichever is least.
int64_t memory_limit();

}  // namespace levanter::train

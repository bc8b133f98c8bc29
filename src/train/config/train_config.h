// The whole configuration of a run: the root of a config file.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "axes/dtype.h"
#include "base/error.h"
#include "config/fields.h"
#include "config/print.h"
#include "config/problems.h"
#include "data/data_config.h"
#include "data/rows/batch_sizes.h"
#include "dist/sharding.h"
#include "models/adapter.h"
#include "models/model_config.h"
#include "models/objective_config.h"
#include "optim/optimizer_config.h"
#include "optim/schedule.h"
#include "trackers/tracker_config.h"

namespace levanter {

namespace dist {
std::span<const config::Word<Sharding>> words_of(Sharding);
}

/// Keep every n-th step for good, up to and including step `until`.
struct KeepRule {
  int64_t every = 0;
  std::optional<int64_t> until;

  void fields(config::Fields& f);
};

/// When to save. Permanent checkpoints go by step, temporary ones by time and by evaluations.
struct CheckpointerConfig {
  std::optional<config::Duration> save_interval = config::Duration{900};  ///< absent: never by time
  std::vector<KeepRule> keep = {{.every = 10000, .until = std::nullopt}};
  bool keep_best = true;

  void fields(config::Fields& f);
  void validate(config::Problems& p) const;
};

/// What a run does at a step that its guard does not let through.
enum class GuardAction {
  kStop,      ///< ends, with ErrorKind::kGuard
  kSkip,      ///< goes on with the next step
  kRollback,  ///< goes back, and leaves out the batches that led there
};
std::span<const config::Word<GuardAction>> words_of(GuardAction);

/// What keeps a step from being taken, and what the run does then.
struct GuardConfig {
  GuardAction on_nan = GuardAction::kStop;
  std::optional<GuardAction> on_spike;  ///< absent: spikes are not looked for
  double loss_spike = 1.5, norm_spike = 10;
  int64_t window = 128;
  int64_t max_skips = 100;
  int64_t rollback_steps = 100, max_rollbacks = 3;
  int64_t max_bundles = 3;

  void fields(config::Fields& f);
};

/// How long ranks wait for each other in one exchange; absent: without end.
struct WatchdogConfig {
  std::optional<config::Duration> start = config::Duration{6 * 3600};
  std::optional<config::Duration> step = config::Duration{600};
  std::optional<config::Duration> save = config::Duration{1800};

  void fields(config::Fields& f);
};

/// A part of the run with batches of their own size: the steps before `until` that come after the
/// part before.
struct BatchStageConfig {
  int64_t until = 0, size = 0;

  void fields(config::Fields& f);
};

/// What is measured: of each parameter, and of each layer's attention.
enum class WatchKind { kGradNorm, kParamNorm, kUpdateRatio, kHistogram, kAttention };
std::span<const config::Word<WatchKind>> words_of(WatchKind);

/// Which of them are measured, at which steps.
struct WatchConfig {
  std::optional<int64_t> every;  ///< absent: nothing is
  std::vector<WatchKind> what = {WatchKind::kGradNorm, WatchKind::kParamNorm,
                                 WatchKind::kUpdateRatio};
  std::string match;  ///< of their paths, as optimizer.groups has it; "": all

  void fields(config::Fields& f);
  void validate(config::Problems& p) const;
  bool has(WatchKind kind) const;
  bool operator==(const WatchConfig&) const = default;
};

/// What the model in training is asked to write.
struct SampleConfig {
  std::optional<int64_t> every;  ///< absent: nothing
  std::vector<std::string> prompts = {""};
  int64_t max_new_tokens = 64;
  double temperature = 1;
  int64_t seed = 0;

  void fields(config::Fields& f);
  void validate(config::Problems& p) const;
  bool operator==(const SampleConfig&) const = default;
};

/// Steps, the first and the last, that are traced op by op; none where it is empty.
struct ProfileConfig {
  std::vector<int64_t> steps;

  void fields(config::Fields& f);
  void validate(config::Problems& p) const;
};

struct TrainerConfig {
  int64_t seed = 0;
  std::string mp = "f32";
  std::string frozen = "f32";  ///< what the matrices under an adapter are held in
  int64_t num_train_steps = 400000;
  std::optional<double> num_train_epochs;  ///< in place of steps, until the data are read
  int64_t train_batch_size = 512;
  std::vector<BatchStageConfig> batch_schedule;  ///< before that size, which is the largest
  std::optional<int64_t> microbatch_size;        ///< absent: TrainConfig::microbatch_size decides
  std::optional<int64_t> gradient_groups;        ///< absent: TrainConfig::gradient_groups decides
  int64_t steps_per_eval = 1000;
  std::optional<int64_t> max_eval_batches;
  config::Path log_dir{.text = "logs", .resolved = ""};
  std::optional<std::string> id;
  std::string device = "cpu";           ///< cpu, reference
  std::optional<int64_t> threads;       ///< absent: what affinity and quota allow
  std::string communicator = "single";  ///< single, threads, mpi
  int64_t ranks = 1;
  dist::Sharding shard = dist::Sharding::kOptimizer;
  TrackerList tracker = default_trackers();
  CheckpointerConfig checkpointer;
  GuardConfig guard;
  WatchdogConfig watchdog;
  WatchConfig watch;
  SampleConfig sample;
  ProfileConfig profile;
  std::optional<bool> crash_on_nan;  ///< guard.on_nan in Levanter's words; absent once loaded
  bool require_same_bits = false;
  bool debug = false;
  std::optional<int64_t> schedule_seed;  ///< absent: the order that takes the least memory

  void fields(config::Fields& f);
  void validate(config::Problems& p) const;

  /// What activations and the factors of products are in, as mp says it: f32 or bf16. Parameters,
  /// their gradients, losses and optimizer state are f32.
  DType compute() const;
  /// mp in one spelling: "f32" or "p=f32,c=bf16".
  std::string precision() const;
};

enum class StartKind { kNone, kCheckpoint, kHf };
std::span<const config::Word<StartKind>> words_of(StartKind);

enum class StartPart { kAll, kModel };
std::span<const config::Word<StartPart>> words_of(StartPart);

/// What a run starts from when it has no checkpoint of its own.
struct StartFrom {
  StartKind kind = StartKind::kNone;
  std::optional<config::Path> path;  ///< of a checkpoint or a Hugging Face folder
  StartPart what = StartPart::kAll;

  void fields(config::Fields& f);
  void validate(config::Problems& p) const;
};

/// Everything that a config file says.
struct TrainConfig {
  config::Choice<ModelConfig> model;
  std::optional<config::Choice<AdapterConfig>> adapter;  ///< absent: the model is trained itself
  DataConfig data;
  config::Choice<OptimizerConfig> optimizer;
  config::Choice<ObjectiveConfig> objective;
  TrainerConfig trainer;
  StartFrom start_from;
  std::optional<config::Path> hf_save_path;  ///< absent: no Hugging Face folders are written
  int64_t hf_save_steps = 10000;
  std::optional<std::string> hf_save_dtype;  ///< f32, bf16, f16
  double z_loss_weight = 0;
  std::vector<std::string> stop_strings;  ///< that end what the model writes

  void fields(config::Fields& f);
  void validate(config::Problems& p) const;

  /// Sequences of one microbatch: trainer.microbatch_size, else the largest divisor of
  /// train_batch_size with at most kMicrobatchTokens tokens, at least one sequence.
  int64_t microbatch_size() const;
  /// Microbatches of a global batch, U.
  int64_t num_microbatches() const { return trainer.train_batch_size / microbatch_size(); }
  /// Groups in which gradients are summed, G: trainer.gradient_groups, else min(U, 8).
  int64_t gradient_groups() const;
  /// Sequences of each step.
  data::BatchSizes batch_sizes() const;
  /// The learning rate's course; refers to this config.
  Schedule schedule() const;
  /// The run's name: trainer.id, else the stem of the config's file name, else "run".
  std::string run_id() const;
  /// The run's folder, absolute: <trainer.log_dir>/<run_id>.
  std::string run_folder() const;

  /// The place of a key, for errors raised later: "run.toml:3:14", or where it would belong.
  std::string where(std::string_view key) const { return sources.where(key); }
  /// An Error about a key, with its place filled in.
  Error error(ErrorKind kind, std::string_view key, std::string message) const;

  std::string file;         ///< the config's file as named by the user; "" when there is none
  config::Sources sources;  ///< where each key was written
  /// Settings of a Hugging Face folder that only training would heed, and does not.
  std::vector<std::string> not_trained;
};

/// Tokens of the microbatch that is chosen where the config names none.
inline constexpr int64_t kMicrobatchTokens = 8192;

/// Is shown a config with all of its faults, before they are thrown, and may add some.
class Inspector {
 public:
  virtual ~Inspector() = default;
  virtual void inspect(const TrainConfig& config, config::Problems& problems) = 0;
};

/// Reads and checks a config. `overrides` are command-line words, "--k.p=v" or "--k.p" "v". An
/// empty `path` takes the defaults and the overrides alone. error  one Error of kind kConfig that
/// lists every fault
TrainConfig load_train_config(const std::string& path, std::span<const std::string> overrides = {},
                              Inspector* inspector = nullptr);

/// Reads a config from text; `name` stands for the file in errors, and its folder is what relative
/// paths start from. For the resolved config stored with a run and for tests.
TrainConfig parse_train_config(std::string_view text, const std::string& name,
                               std::span<const std::string> overrides = {});

/// The config as TOML with every value in it; reading it again gives the same config.
std::string print_config(const TrainConfig& config);
/// Every key with its value as TOML, in declaration order.
std::vector<config::Entry> config_entries(const TrainConfig& config);
/// One line "key = value" for each key in declaration order: what config_hash is taken of.
std::string canonical_text(const TrainConfig& config);
/// Its xxh3, in hexadecimal.
std::string config_hash(const TrainConfig& config);

/// A key whose values differ, as TOML; a value that is absent reads "none".
struct Difference {
  std::string key, saved, now;
};
/// Every key in which two configs differ.
std::vector<Difference> differences(const TrainConfig& saved, const TrainConfig& now);
/// The differences that forbid `now` to continue a run of `saved`: those of model, data, optimizer,
/// seed, mp, batch, microbatch and groups (the last two as they come out, set or not).
std::vector<Difference> resume_differences(const TrainConfig& saved, const TrainConfig& now);

/// Throws an Error of kind kConfig when the config names no text; `to_train`: none to train on.
void require_data(const TrainConfig& config, bool to_train = false);

}  // namespace levanter

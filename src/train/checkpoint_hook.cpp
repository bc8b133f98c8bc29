// Checkpoints as a run goes on: by step, by time, at its best evaluation, at its end.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>

#include "base/hash.h"
#include "base/strings.h"
#include "train/checkpoint_policy.h"
#include "checkpoint/save.h"
#include "checkpoint/writer.h"
#include "train/data_record.h"
#include "train/hooks.h"
#include "train/ranks/watchdog.h"
#include "train/setup.h"

namespace levanter::train {

namespace {

using Clock = std::chrono::steady_clock;

using nlohmann::json;

constexpr std::string_view kService = "save";  // of the ranks that have a part of the state
constexpr double kMostDelay = 60;              // seconds between two tries of a save that fails

/// The first rank's part of a save.
SavePart part_of_save(const HookContext& c, int64_t step) {
  const CompiledStep& compiled = c.engine.step();
  if (!compiled.is_sharded()) return {};
  return {.count = compiled.options.ranks,
          .key = cat(step, " ", Clock::now().time_since_epoch().count()),
          .patience = patience_with_parts(c.config.trainer.watchdog),
          .parts_model = compiled.gathers()};
}

/// Calls the ranks that have the other parts.
void call_to_save(const HookContext& c, int64_t step, bool permanent, const SavePart& part) {
  if (part.count == 1) return;
  const json call = {
      {"step", step}, {"permanent", permanent}, {"key", part.key}, {"folder", part.folder}};
  c.crew.call(kService, call.dump());
}

/// A save that fails ends nothing while the run goes on: the next steps try again. The one after
/// the last step, or before a stop, has to be made.
class CheckpointHook final : public Hook {
 public:
  explicit CheckpointHook(const HookContext& c)
      : c_(c),
        model_(c.engine.model_part()),
        optimizer_(c.engine.optimizer_part()),
        writer_(c.folder.checkpoints(), staging_bytes(c.engine.step().save_bytes())),
        last_save_(Clock::now()),
        kept_(c.kept),
        step_(c.start_step) {}

  const char* name() const override { return "checkpoint"; }
  void before_update() override {
    trying([&] { writer_.before_update(); });
  }

  void after_step(const StepInfo& info) override {
    report();
    const SaveKind kind = kind_of(info.step);
    if (kind != SaveKind::none) save(info.step, kind);
    if (info.last) end(info.step);
  }

  void stopped(int64_t step) override {
    report();
    if (step != step_) save(step, SaveKind::temporary);
    end(step);
  }

 private:
  void save(int64_t step, SaveKind kind) {
    trying([&] { writer_.wait(progress_); });  // for the save before
    report();
    trying([&] { begin(step, std::max(kind, retry_)); });
  }

  /// Returns once the state of this step, whose save has begun, is saved.
  void end(int64_t step) {
    try {
      writer_.wait(progress_);
    } catch (const Error&) {
      begin(step, under_way_.kind);  // a fault that passes, such as of a network, costs nothing
      writer_.wait(progress_);
    }
    report();
    if (failures_ > 0)
      c_.tracker.message(cat("checkpoints: ", count_of(failures_, "save"), " failed on the way"));
  }

  SaveKind kind_of(int64_t step) const {
    SaveKind kind = decide_save(c_.config.trainer.checkpointer, step,
                                c_.config.trainer.num_train_steps, seconds_since(last_save_));
    if (best(step) || c_.requests.save) kind = std::max(kind, SaveKind::temporary);
    if (kind == SaveKind::temporary && writer_.retrying()) {
      if (best(step))
        c_.tracker.message(cat("step ", step, ", the best so far, is not kept, since step ", step_,
                               " is still to be saved"));
      return SaveKind::none;
    }
    const bool again = retry_ != SaveKind::none && seconds_since(failed_at_) >= delay_;
    return again ? std::max(kind, retry_) : kind;
  }

  /// Whether the evaluation after this step was better than that of the checkpoint kept so far.
  bool best(int64_t step) const {
    return c_.config.trainer.checkpointer.keep_best && c_.summary.evaluated_step() == step &&
           c_.summary.evaluated_loss() < kept_.loss;
  }

  void begin(int64_t step, SaveKind kind) {
    c_.tracker.flush();
    under_way_ = {kind, best(step) ? BestCheckpoint{step, c_.summary.evaluated_loss()} : kept_};
    step_ = step;
    retry_ = SaveKind::none;  // this one stands for it
    const bool permanent = kind == SaveKind::permanent;
    call_to_save(c_, step, permanent, writer_.begin(contents(step, permanent)));
    last_save_ = Clock::now();
  }

  CheckpointContents contents(int64_t step, bool permanent) const {
    CheckpointContents contents = checkpoint_contents(c_, step, under_way_.kept);
    contents.model = model_;
    contents.optimizer = optimizer_;
    contents.permanent = permanent;
    contents.part = part_of_save(c_, step);
    return contents;
  }

  /// Does what may find that the save under way has failed.
  template <class Call>
  void trying(Call call) {
    try {
      call();
    } catch (const Error& error) {
      if (error.kind() != ErrorKind::kIo) throw;
      if (delay_ < 0)
        c_.tracker.message(cat("step ", step_, " is not saved: ", error.message(),
                               "; the run goes on, and a later step is saved in its place"));
      delay_ = delay_ < 0 ? 0 : std::clamp(2 * delay_, 1.0, kMostDelay);
      retry_ = under_way_.kind;
      failed_at_ = Clock::now();
      ++failures_;
    }
  }

  void report() {
    if (const std::string problem = writer_.take_problem(); !problem.empty())
      c_.tracker.message(cat("step ", step_, " is not saved yet: ", problem,
                             "; the run goes on, and its state is kept in memory meanwhile"));
    const auto saved = writer_.take_report();
    if (!saved) return;
    kept_ = under_way_.kept;
    delay_ = -1;
    c_.tracker.message(
        cat("saved step ", saved->step, kept_.step == saved->step ? ", the best" : "", " (",
            format_bytes(saved->bytes), " in ", format_duration(saved->seconds), ")"));
    if (!saved->problem.empty()) c_.tracker.message(saved->problem);
  }

  static double seconds_since(Clock::time_point start) {
    return std::chrono::duration<double>(Clock::now() - start).count();
  }

  HookContext c_;
  std::vector<Tensor> model_, optimizer_;
  CheckpointWriter writer_;
  ProgressReport progress_ = [this](const Progress& progress) { c_.tracker.progress(progress); };
  Clock::time_point last_save_;
  BestCheckpoint kept_;  ///< once the save under way has committed, under_way_.kept
  struct {
    SaveKind kind = SaveKind::none;
    BestCheckpoint kept;
  } under_way_;
  int64_t step_;                     ///< of the save under way, or of what is there
  SaveKind retry_ = SaveKind::none;  ///< what failed and is tried again
  double delay_ = -1;                ///< seconds from the failure to then; -1: all is well
  Clock::time_point failed_at_ = {};
  int64_t failures_ = 0;
};

/// What fails here is written beside the part, if that can be done, and the first rank tells it.
class PartHook final : public Hook {
 public:
  PartHook(Engine& engine, dist::Crew& crew)
      : model_(engine.model_part()),
        optimizer_(engine.optimizer_part()),
        parts_model_(engine.step().gathers()),
        writers_(engine.step().options.ranks),
        rank_(engine.step().options.rank),
        writer_("", staging_bytes(engine.step().save_bytes())) {
    crew.serve(std::string(kService), [this](const std::string& text) { save(json::parse(text)); });
  }

  const char* name() const override { return "part of a checkpoint"; }
  void after_step(const StepInfo&) override {}
  void before_update() override {
    trying([&] { writer_.before_update(); });
  }

 private:
  void save(const json& call) {
    trying([&] { writer_.wait(); });
    writer_.begin({.step = call.at("step"),
                   .config_toml = {},
                   .config_hash = {},
                   .numerics = {},
                   .tokenizer = {},
                   .extra_json = {},
                   .model = model_,
                   .optimizer = optimizer_,
                   .permanent = call.at("permanent"),
                   .part = {.index = rank_,
                            .count = writers_,
                            .key = call.at("key"),
                            .folder = call.at("folder"),
                            .parts_model = parts_model_}});
  }

  template <class Call>
  static void trying(Call call) {
    try {
      call();
    } catch (const Error& error) {
      if (error.kind() != ErrorKind::kIo) throw;
    }
  }

  std::vector<Tensor> model_, optimizer_;
  bool parts_model_;
  int64_t writers_, rank_;
  CheckpointWriter writer_;
};

}  // namespace

std::unique_ptr<Hook> make_checkpoint_part_hook(Engine& engine, dist::Crew& crew) {
  return std::make_unique<PartHook>(engine, crew);
}

CheckpointContents checkpoint_contents(const HookContext& c, int64_t step,
                                       const BestCheckpoint& kept) {
  const TrainConfig& config = c.config;
  std::string extra = cat(
      "{\"microbatches\": ", config.num_microbatches(), ", \"groups\": ", config.gradient_groups(),
      ", \"seed\": ", config.trainer.seed, ", \"evaluated_step\": ", c.summary.evaluated_step(),
      ", \"data\": ", data_record(c.data));
  if (config.trainer.sample.every) extra += cat(", \"sampled_step\": ", c.summary.sampled_step());
  if (config.adapter) extra += cat(", \"base\": ", text_of(c.base));
  if (c.first_step > 0) extra += cat(", \"first_step\": ", c.first_step);
  if (c.summary.best_step() >= 0)
    extra +=
        cat(", \"best_loss\": ", c.summary.best_loss(), ", \"best_step\": ", c.summary.best_step());
  const bool keeps = config.trainer.checkpointer.keep_best && kept.step >= 0;
  if (keeps) extra += cat(", \"kept_loss\": ", kept.loss, ", \"kept_step\": ", kept.step);
  if (!c.reference.empty()) extra += cat(", \"reference\": ", quote(c.reference));
  if (const std::string record = c.guard.record(); !record.empty())
    extra += cat(", \"guard\": ", record);
  return {.step = step,
          .config_toml = print_config(config),
          .config_hash = config_hash(config),
          .numerics = numerics_of(config, c.backend),
          .tokenizer = c.data.tokenizer()->serialise(),
          .extra_json = extra + "}",
          .model = {},
          .optimizer = {},
          .keep_step = keeps ? kept.step : -1};
}

void save_now(const HookContext& c, const std::string& folder, CheckpointContents contents) {
  contents.part = part_of_save(c, contents.step);
  if (contents.part.count > 1) contents.part.folder = prepare_checkpoint(folder, contents.step);
  call_to_save(c, contents.step, false, contents.part);  // there is one try
  save_checkpoint(folder, contents);
}

std::unique_ptr<Hook> make_checkpoint_hook(const HookContext& context) {
  return std::make_unique<CheckpointHook>(context);
}

}  // namespace levanter::train

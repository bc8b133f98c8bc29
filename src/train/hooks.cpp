#include "train/hooks.h"

#include <chrono>
#include <cmath>

#include "base/hash.h"
#include "base/strings.h"
#include "train/checkpoint_folder.h"
#include "train/checkpoint_policy.h"
#include "train/data_record.h"
#include "train/evaluate.h"
#include "train/hf_export.h"
#include "train/peak.h"
#include "train/setup.h"

namespace levanter::train {

namespace {

/// Steps before the machine's rate is looked up, which may take a moment the first time.
constexpr int64_t kStepsBeforePeak = 20;

class MetricsHook final : public Hook {
 public:
  explicit MetricsHook(const HookContext& c)
      : c_(c),
        tokens_a_step_(c.config.trainer.train_batch_size * c.config.model->max_seq_len),
        flops_a_step_(c.engine.step().flops_per_token() * static_cast<double>(tokens_a_step_)) {
    epoch_length_ =
        static_cast<double>(c.data.training(training_options(c.config, {})).epoch_length);
  }

  void after_step(const StepInfo& info) override {
    const auto tokens = static_cast<double>(tokens_a_step_);
    const auto batch = static_cast<double>(c_.config.trainer.train_batch_size);
    const double step = static_cast<double>(info.step);
    const double rate = flops_a_step_ / info.duration / 1e9;
    Metrics m = {{"train/loss", info.report.loss},
                 {"global_step", step},
                 {"run_progress", step / static_cast<double>(c_.config.trainer.num_train_steps)},
                 {"train/current_epoch", step * batch / epoch_length_},
                 {"optim/learning_rate", info.lr},
                 {"grad/norm/total", info.report.grad_norm},
                 {"optim/skipped_step", info.report.proceeded ? 0.0 : 1.0},
                 {"throughput/total_tokens", step * tokens},
                 {"throughput/total_gflops", step * flops_a_step_ / 1e9},
                 {"throughput/examples_per_second", batch / info.duration},
                 {"throughput/tokens_per_second", tokens / info.duration},
                 {"throughput/duration", info.duration},
                 {"throughput/gflops_per_second", rate},
                 {"throughput/loading_time", info.loading_time},
                 {"throughput/hook_time", info.hook_time}};
    if (info.step - c_.start_step == kStepsBeforePeak) find_peak();
    if (peak_ > 0) m.emplace_back("throughput/mfu", 100 * rate / peak_);
    for (auto& measure : c_.engine.measures()) m.push_back(std::move(measure));
    c_.tracker.log(m, info.step);
    if (info.last || info.step % 100 == 0) c_.summary.log(m, info.step);
  }

 private:
  void find_peak() {
    peak_ = machine_peak(c_.backend, c_.config.trainer.compute());
    peak_ *= static_cast<double>(c_.config.trainer.ranks);
    if (peak_ > 0)
      c_.tracker.log_summary({{"throughput/theoretical_flops", peak_ * 1e9},
                              {"throughput/theoretical_flops_per_device",
                               peak_ * 1e9 / static_cast<double>(c_.config.trainer.ranks)}});
  }

  HookContext c_;
  int64_t tokens_a_step_;
  double flops_a_step_;
  double epoch_length_ = 1;
  double peak_ = 0;  ///< GFLOP/s of all ranks; 0: not known yet
};

class EvaluationHook final : public Hook {
 public:
  explicit EvaluationHook(const HookContext& c) : c_(c) {}

  void after_step(const StepInfo& info) override {
    if (!info.last && info.step % c_.config.trainer.steps_per_eval != 0) return;
    Metrics metrics;
    try {
      metrics = evaluate_now(c_);
    } catch (const Error& error) {
      if (error.kind() != ErrorKind::kSignal) throw;
    }
    if (metrics.empty()) return;
    c_.tracker.log(metrics, info.step);
    c_.summary.log(metrics, info.step);
  }

 private:
  HookContext c_;
};

class CheckpointHook final : public Hook {
 public:
  explicit CheckpointHook(const HookContext& c)
      : c_(c),
        config_text_(print_config(c.config)),
        model_(c.engine.model_tensors()),
        optimizer_(c.engine.optimizer_tensors()),
        writer_(c.folder.checkpoints(), staging_bytes(c.engine.step().state_bytes())),
        saved_step_(c.start_step),
        last_save_(std::chrono::steady_clock::now()) {}

  void before_update() override { writer_.before_update(); }

  void after_step(const StepInfo& info) override {
    report();
    const std::chrono::duration<double> since = std::chrono::steady_clock::now() - last_save_;
    const SaveKind kind = decide_save(c_.config.trainer.checkpointer, info.step,
                                      c_.config.trainer.num_train_steps, since.count());
    if (kind != SaveKind::none) save(info.step, kind);
    if (info.last) wait();
  }

  void stopped(int64_t step) override {
    if (step != saved_step_) save(step, SaveKind::temporary);
    wait();
  }

 private:
  void save(int64_t step, SaveKind kind) {
    c_.tracker.flush();
    writer_.begin(contents(step, kind == SaveKind::permanent));
    saved_step_ = step;
    last_save_ = std::chrono::steady_clock::now();
  }

  void wait() {
    writer_.wait();
    report();
  }

  CheckpointContents contents(int64_t step, bool permanent) const {
    const TrainConfig& config = c_.config;
    std::string extra =
        cat("{\"microbatches\": ", config.num_microbatches(),
            ", \"groups\": ", config.gradient_groups(), ", \"seed\": ", config.trainer.seed,
            ", \"evaluated_step\": ", c_.summary.evaluated_step(),
            ", \"data\": ", data_record(c_.data));
    if (c_.summary.best_step() >= 0)
      extra += cat(", \"best_loss\": ", c_.summary.best_loss(),
                   ", \"best_step\": ", c_.summary.best_step());
    const std::string canonical = canonical_text(config);
    return {.step = step,
            .config_toml = config_text_,
            .config_hash = hex64(xxh3_64(canonical)),
            .numerics = c_.backend.numerics_signature() + "; mp " + config.trainer.precision(),
            .tokenizer = c_.data.tokenizer()->serialise(),
            .extra_json = extra + "}",
            .model = model_,
            .optimizer = optimizer_,
            .permanent = permanent};
  }

  void report() {
    const auto saved = writer_.take_report();
    if (!saved) return;
    c_.tracker.message(cat("saved step ", saved->step, " (", format_bytes(saved->bytes), " in ",
                           format_duration(saved->seconds), ")"));
    if (!saved->problem.empty()) c_.tracker.message(saved->problem);
  }

  HookContext c_;
  std::string config_text_;
  std::vector<TensorView> model_, optimizer_;
  CheckpointWriter writer_;
  int64_t saved_step_;
  std::chrono::steady_clock::time_point last_save_;
};

class HfSaveHook final : public Hook {
 public:
  explicit HfSaveHook(const HookContext& c)
      : c_(c),
        source_(hf_source(print_config(c.config), c.data.tokenizer(), c.engine.model_tensors())) {
    if (c.config.hf_save_dtype) options_.dtype = hf_dtype(*c.config.hf_save_dtype);
    options_.overwrite = true;  // of what a killed run has written
  }

  void after_step(const StepInfo& info) override {
    if (!info.last && info.step % c_.config.hf_save_steps != 0) return;
    const std::string folder = step_folder(c_.config.hf_save_path->resolved, info.step);
    try {
      const HfReport report = export_hf(source_, folder, options_);
      c_.tracker.message(cat("wrote ", folder, report.tokenizer ? "" : ", without a tokenizer"));
    } catch (const Error& error) {  // the run itself loses nothing
      if (error.kind() != ErrorKind::kSignal) c_.tracker.message(error.what());
    }
  }

 private:
  HookContext c_;
  HfSource source_;
  HfOptions options_;
};

}  // namespace

Metrics evaluate_now(const HookContext& c) {
  EvaluationOptions options;
  options.batch = c.config.microbatch_size();
  options.seq_len = c.config.model->max_seq_len;
  if (c.config.trainer.max_eval_batches)
    options.max_rows = *c.config.trainer.max_eval_batches * c.config.trainer.train_batch_size;
  return evaluate(
      c.data, [&c](const Rows& rows) { return c.engine.run_evaluation(rows); }, options);
}

std::unique_ptr<Hook> make_metrics_hook(const HookContext& context) {
  return std::make_unique<MetricsHook>(context);
}
std::unique_ptr<Hook> make_evaluation_hook(const HookContext& context) {
  return std::make_unique<EvaluationHook>(context);
}
std::unique_ptr<Hook> make_checkpoint_hook(const HookContext& context) {
  return std::make_unique<CheckpointHook>(context);
}
std::unique_ptr<Hook> make_hf_save_hook(const HookContext& context) {
  return std::make_unique<HfSaveHook>(context);
}

}  // namespace levanter::train

// The hooks of a step: its metrics to the trackers, evaluations, Hugging Face folders.
#include "train/hooks.h"

#include <cmath>

#include "base/strings.h"
#include "train/evaluate.h"
#include "train/engine/peak.h"
#include "train/setup.h"

namespace levanter::train {

namespace {

constexpr std::string_view kEvaluate = "evaluate";  // what the crew does for the hook

/// Steps before the machine's rate is looked up, which may take a moment the first time.
constexpr int64_t kStepsBeforePeak = 20;

class MetricsHook final : public Hook {
 public:
  explicit MetricsHook(const HookContext& c)
      : c_(c),
        tokens_a_step_(c.config.trainer.train_batch_size * c.config.model->max_seq_len),
        flops_a_step_(c.engine.step().flops_per_token() * static_cast<double>(tokens_a_step_)),
        epoch_length_(static_cast<double>(c.epoch_length)) {}

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
    if (info.slowest_rank) {
      m.emplace_back("throughput/waited_share", info.waited / info.duration);
      m.emplace_back("throughput/slowest_rank", static_cast<double>(*info.slowest_rank));
    }
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
  double epoch_length_;
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

class HfSaveHook final : public Hook {
 public:
  HfSaveHook(const HookContext& c, HfFolders& folders)
      : c_(c),
        folders_(folders),
        source_(hf_source(print_config(c.config), c.data.tokenizer(), c.parameters)) {}

  void after_step(const StepInfo& info) override {
    if (folders_.due(info.step)) folders_.write(info.step, source_);
    if (info.last) folders_.make_missing(c_.folder.checkpoints(), info.step);
  }

 private:
  HookContext c_;
  HfFolders& folders_;
  HfSource source_;
};

}  // namespace

namespace {

EvaluationOptions evaluation_options(const TrainConfig& config) {
  EvaluationOptions options;
  options.batch = config.microbatch_size();
  options.seq_len = config.model->max_seq_len;
  if (config.trainer.max_eval_batches)
    options.max_rows = *config.trainer.max_eval_batches * config.trainer.train_batch_size;
  return options;
}

/// Of the rows each rank has a share.
void share(EvaluationOptions& options, dist::Crew& crew, Engine& engine) {
  options.communicator = &crew.communicator();
  if (engine.step().gathers()) options.attend = [&engine] { engine.attend_evaluation(); };
}

}  // namespace

void serve_evaluation(dist::Crew& crew, const TrainConfig& config, const data::TextData& data,
                      Engine& engine) {
  crew.serve(std::string(kEvaluate), [&](const std::string&) {
    EvaluationOptions options = evaluation_options(config);
    share(options, crew, engine);
    try {
      evaluate(
          data, [&](const Rows& rows) { return engine.run_evaluation(rows); }, options);
    } catch (const Error& error) {
      if (error.kind() != ErrorKind::kSignal) throw;  // all ranks stop at the next step
    }
  });
}

Metrics evaluate_now(const HookContext& c) {
  EvaluationOptions options = evaluation_options(c.config);
  if (!c.crew.is_alone()) {
    c.crew.call(kEvaluate);
    share(options, c.crew, c.engine);
  }
  options.progress = [&c](double fraction) { c.tracker.progress("evaluating", fraction); };
  return evaluate(
      c.data, [&c](const Rows& rows) { return c.engine.run_evaluation(rows); }, options);
}

int64_t evaluation_rows(const TrainConfig& config, const data::TextData& data) {
  return evaluation_rows(data, evaluation_options(config));
}

std::unique_ptr<Hook> make_metrics_hook(const HookContext& context) {
  return std::make_unique<MetricsHook>(context);
}
std::unique_ptr<Hook> make_evaluation_hook(const HookContext& context) {
  return std::make_unique<EvaluationHook>(context);
}
std::unique_ptr<Hook> make_hf_save_hook(const HookContext& context, HfFolders& folders) {
  return std::make_unique<HfSaveHook>(context, folders);
}

}  // namespace levanter::train

// The hooks of a step: its metrics to the trackers, evaluations, Hugging Face folders.
#include "train/hooks.h"

#include <algorithm>
#include <exception>

#include "base/strings.h"
#include "train/evaluate.h"
#include "train/engine/peak.h"
#include "train/setup.h"

namespace levanter::train {

namespace {

// What the crew does for the hooks.
constexpr std::string_view kEvaluate = "evaluate", kShareAverage = "share average",
                           kEndAverage = "end average";

/// Steps before the machine's rate is looked up, which may take a moment the first time.
constexpr int64_t kStepsBeforePeak = 20;

class MetricsHook final : public Hook {
 public:
  explicit MetricsHook(const HookContext& c)
      : c_(c),
        sizes_(c.config.batch_sizes()),
        flops_a_token_(c.engine.step().flops_per_token()),
        epoch_length_(static_cast<double>(c.epoch_length)) {}

  const char* name() const override { return "metrics"; }
  void after_step(const StepInfo& info) override {
    const auto positions = static_cast<double>(c_.config.model->max_seq_len);
    const auto batch = static_cast<double>(sizes_.of(info.place));
    const auto examples = static_cast<double>(sizes_.before(info.step));  // of all steps so far
    const double step = static_cast<double>(info.step), tokens = batch * positions;
    const double rate = tokens * flops_a_token_ / info.duration / 1e9;
    Metrics m = {{"train/loss", info.report.loss},
                 {"global_step", step},
                 {"run_progress", step / static_cast<double>(c_.config.trainer.num_train_steps)},
                 {"train/current_epoch", examples / epoch_length_},
                 {"optim/learning_rate", info.lr},
                 {"grad/norm/total", info.report.grad_norm},
                 {"optim/skipped_step", info.report.proceeded ? 0.0 : 1.0},
                 {"throughput/total_tokens", examples * positions},
                 {"throughput/total_gflops", examples * positions * flops_a_token_ / 1e9},
                 {"throughput/examples_per_second", batch / info.duration},
                 {"throughput/tokens_per_second", tokens / info.duration},
                 {"throughput/duration", info.duration},
                 {"throughput/gflops_per_second", rate},
                 {"throughput/loading_time", info.loading_time},
                 {"throughput/hook_time", info.hook_time}};
    if (info.step - c_.start_step == kStepsBeforePeak) find_peak();
    if (peak_ > 0) m.emplace_back("throughput/mfu", 100 * rate / peak_);
    if (info.slowest_rank) {
      m.emplace_back("throughput/slowest_rank", static_cast<double>(*info.slowest_rank));
      // A rank's work may have begun before the first one saw the step begin.
      m.emplace_back("throughput/straggler_share", std::min(1.0, info.straggled / info.duration));
    }
    if (c_.crew.communicator().watch())
      m.emplace_back("throughput/waited_share", info.waited / info.duration);
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
  data::BatchSizes sizes_;
  double flops_a_token_;
  double epoch_length_;
  double peak_ = 0;  ///< GFLOP/s of all ranks; 0: not known yet
};

class EvaluationHook final : public Hook {
 public:
  explicit EvaluationHook(const HookContext& c) : c_(c) {}

  const char* name() const override { return "evaluation"; }
  void after_step(const StepInfo& info) override {
    const bool due = info.last || info.step % c_.config.trainer.steps_per_eval == 0;
    if (!due && !c_.requests.evaluate) return;
    if (c_.requests.evaluate && c_.data.validation_tokens() == 0)
      c_.tracker.message(
          cat(kControlFile, ": there is nothing to evaluate: ", kNothingToValidateWith));
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

/// What stands in the parameters' place while such folders are written.
Average average_of(const HfFolders& folders, const Engine& engine) {
  if (folders.of_ema()) return Average::kBeside;
  return engine.keeps(Average::kInstead) ? Average::kInstead : Average::kNo;
}

/// The model, or its adapter alone where it has one.
HfSource hf_source_of(const HookContext& c) {
  const std::vector<Tensor> tensors =
      tensors_of(c.engine.step().params, c.parameters, c.config.adapter.has_value());
  return hf_source(print_config(c.config), c.data.tokenizer(), tensors, c.base);
}

/// Folders of averages, of which each rank has a part.
class AverageSaveHook final : public Hook {
 public:
  AverageSaveHook(const HookContext& c, HfFolders& folders)
      : c_(c), folders_(folders), source_(hf_source_of(c)) {}

  const char* name() const override { return "folders of averages"; }
  void after_step(const StepInfo& info) override {
    if (!folders_.due(info.step)) return;
    with_averages(c_, average_of(folders_, c_.engine), [&] { folders_.write(info.step, source_); });
  }

 private:
  HookContext c_;
  HfFolders& folders_;
  HfSource source_;
};

/// Folders of the parameters as they are trained, and what is missing of others.
class HfSaveHook final : public Hook {
 public:
  HfSaveHook(const HookContext& c, HfFolders& folders)
      : c_(c),
        folders_(folders),
        writes_(average_of(folders, c.engine) == Average::kNo),
        source_(hf_source_of(c)) {}

  const char* name() const override { return "folders"; }
  void after_step(const StepInfo& info) override {
    if (writes_ && folders_.due(info.step)) folders_.write(info.step, source_);
    if (info.last) folders_.make_missing(c_.folder.checkpoints(), info.step);
  }

 private:
  HookContext c_;
  HfFolders& folders_;
  bool writes_;
  HfSource source_;
};

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

/// What rank 0 calls the crew with, and what that means.
std::string_view word_of(Average average) {
  return average == Average::kBeside ? optim::kEma : std::string_view();
}
Average average_called(std::string_view text) {
  return text == optim::kEma ? Average::kBeside : Average::kInstead;
}

/// The validation losses with the averages that the crew is called with: of the weights as they
/// are trained, or as they are used where that is something else.
Metrics evaluate_with(Average average, const data::TextData& data, StepExchange& exchange,
                      Engine& engine, const EvaluationOptions& options) {
  std::optional<AverageScope> scope;
  if (engine.keeps(average)) scope.emplace(exchange, engine, average);
  EvaluationOptions with_objective = options;
  with_objective.pair_loss = engine.step().options.objective->pair_loss();
  with_objective.measures_pairs = with_objective.pair_loss != nullptr;
  return evaluate(
      data, [&](const Rows& rows) { return engine.run_evaluation(rows); }, with_objective);
}

class ControlHook final : public Hook {
 public:
  explicit ControlHook(const HookContext& c)
      : c_(c),
        control_(c.folder.path(), [&c](std::string_view line) { c.tracker.message(line); }) {}

  const char* name() const override { return "control"; }
  void after_step(const StepInfo&) override {
    c_.requests = {};
    control_.look(c_.requests);
  }

 private:
  HookContext c_;
  Control control_;
};

}  // namespace

void with_averages(const HookContext& c, Average average, const std::function<void()>& work) {
  if (average == Average::kNo) return work();
  if (!c.crew.is_alone()) c.crew.call(kShareAverage, word_of(average));
  std::exception_ptr failure;
  {
    const AverageScope scope(c.exchange, c.engine, average);
    try {
      work();
    } catch (...) {
      failure = std::current_exception();
    }
  }
  if (c.engine.step().gathers()) c.crew.call(kEndAverage);
  if (failure) std::rethrow_exception(failure);
}

std::unique_ptr<Hook> make_control_hook(const HookContext& context) {
  return std::make_unique<ControlHook>(context);
}

void serve_evaluation(dist::Crew& crew, const TrainConfig& config, const data::TextData& data,
                      StepExchange& exchange, Engine& engine) {
  crew.serve(std::string(kEvaluate), [&](const std::string& text) {
    EvaluationOptions options = evaluation_options(config);
    share(options, crew, engine);
    const Average average = average_called(text);
    try {
      evaluate_with(average, data, exchange, engine, options);
    } catch (const Error& error) {
      if (error.kind() != ErrorKind::kSignal) throw;  // all ranks stop at the next step
    }
  });
  crew.serve(std::string(kShareAverage), [&](const std::string& text) {
    const Average average = average_called(text);
    if (engine.step().gathers())
      return engine.begin_average(average);  // rank 0 reads, then ends it
    const AverageScope scope(exchange, engine, average);
  });
  crew.serve(std::string(kEndAverage), [&](const std::string&) { engine.end_average(); });
}

Metrics evaluate_now(const HookContext& c) {
  EvaluationOptions options = evaluation_options(c.config);
  if (!c.crew.is_alone()) share(options, c.crew, c.engine);
  options.progress = [&c](const Progress& progress) { c.tracker.progress(progress); };
  const auto now = [&](std::string_view text, Average average) {
    if (!c.crew.is_alone()) c.crew.call(kEvaluate, text);
    return evaluate_with(average, c.data, c.exchange, c.engine, options);
  };
  Metrics metrics = now("", Average::kInstead);
  if (metrics.empty() || !c.engine.keeps(Average::kBeside)) return metrics;
  for (const auto& [name, value] : now(optim::kEma, Average::kBeside))
    metrics.emplace_back(cat("eval/", optim::kEma, name.substr(name.find('/'))), value);
  return metrics;
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
std::unique_ptr<Hook> make_average_save_hook(const HookContext& context, HfFolders& folders) {
  if (average_of(folders, context.engine) == Average::kNo) return nullptr;
  return std::make_unique<AverageSaveHook>(context, folders);
}
std::unique_ptr<Hook> make_hf_save_hook(const HookContext& context, HfFolders& folders) {
  return std::make_unique<HfSaveHook>(context, folders);
}

}  // namespace levanter::train

// A training run from its config to its last checkpoint.
#include "train/run.h"

#include <atomic>
#include <chrono>
#include <exception>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <thread>

#include "base/files.h"
#include "base/integers.h"
#include "base/memory.h"
#include "base/stop.h"
#include "base/strings.h"
#include "base/threads.h"
#include "data/rows/loader.h"
#include "device/backends.h"
#include "dist/communicator.h"
#include "dist/gradient_sum.h"
#include "text/tokenizer.h"
#include "checkpoint/folder.h"
#include "train/data_record.h"
#include "train/hf/folders.h"
#include "train/hf/start.h"
#include "train/hooks.h"
#include "train/introduction.h"
#include "train/engine/nan_guard.h"
#include "train/setup.h"

namespace levanter::train {

namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

/// What rank 0 computes with, made before the texts are read: a run that does not fit ends there.
struct Prepared {
  std::unique_ptr<Backend> backend;
  CompiledStep step;
};

/// What all ranks of a run share.
struct Run {
  TrainConfig config;
  const RunOptions& options;
  std::unique_ptr<data::TextData> data = nullptr;
  int64_t vocab = 0;
  std::optional<Checkpoint> from = {};                    ///< what the state is read from
  bool resumes = false;                                   ///< `from` is the run's own
  std::unique_ptr<const compat::HfWeights> hf = nullptr;  ///< or where the model is read from
  std::optional<Prepared> prepared = {};
  bool restore_optimizer = true;
  int64_t start_step = 0;
  int64_t first_step = 0;  ///< steps of another run that it was begun with
  BestCheckpoint kept = {};
  Key root{};
  std::atomic<int64_t> need{0};  ///< bytes, by the plan; 0 before there is one
};

/// Whether a key of the config says only where something lies that is known by its content:
/// a text by the record of the data, a tokenizer by the one that is saved.
bool is_known_by_content(const Difference& d, const TrainConfig& config,
                         const Checkpoint& checkpoint) {
  if (d.key == "data.tokenizer.path") {
    const TokenizerConfig& tokenizer = *config.data.tokenizer;
    const auto now = text::find_tokenizer(config.data.tokenizer.type).make(tokenizer, {});
    return now->identity() ==
           text::load_tokenizer(checkpoint.tokenizer(), checkpoint.folder())->identity();
  }
  return d.key.starts_with("data.components.") &&
         (d.key.ends_with(".train") || d.key.ends_with(".validation") ||
          d.key.ends_with(".chat_template"));
}

/// Refuses a config that can't continue the checkpoint's run; returns the checkpoint's own.
TrainConfig refuse_differences(const TrainConfig& config, const Checkpoint& checkpoint) {
  TrainConfig saved =
      parse_train_config(checkpoint.config_toml(), join_path(checkpoint.folder(), "config.toml"));
  const bool by_content = records_data(checkpoint.manifest().extra_json);
  std::string list;
  for (const Difference& d : resume_differences(saved, config))
    if (!by_content || !is_known_by_content(d, config, checkpoint))
      list += cat(list.empty() ? "" : "; ", d.key, " was ", d.saved, " and is ", d.now);
  if (list.empty()) return saved;
  throw Error(ErrorKind::kConfig, cat("the config does not fit the run's checkpoint: ", list))
      .at(checkpoint.folder())
      .hint("give the new run another trainer.id, or undo the change");
}

/// What the checkpoint says beside its tensors.
nlohmann::json extra_of(const Run& run) {
  if (!run.from || run.start_step == 0) return nlohmann::json::object();
  auto extra = nlohmann::json::parse(run.from->manifest().extra_json, nullptr, false);
  return extra.is_object() ? extra : nlohmann::json::object();
}

/// Takes up what the run's own checkpoint knows beside its tensors.
void take_up(Run& run, const std::string& checkpoints) {
  const nlohmann::json extra = extra_of(run);
  run.first_step = extra.value("first_step", int64_t{0});
  const int64_t kept = extra.value("kept_step", int64_t{-1});
  if (kept >= 0 && path_exists(join_path(step_folder(checkpoints, kept), kManifestFile)))
    run.kept = {kept, extra.value("kept_loss", run.kept.loss)};
}

/// The checkpoint to go on from, if any: the run's own, else the one that start_from names.
void choose_start(Run& run, const RunFolder& folder, std::vector<std::string>& messages) {
  FoundCheckpoint found = find_latest(folder.checkpoints());
  for (const std::string& problem : found.problems) messages.push_back(problem);
  if (!found.checkpoint && !found.problems.empty())
    throw Error(ErrorKind::kCheckpoint,
                cat("no checkpoint of this run is good: ", join(found.problems, "; ")))
        .at(folder.checkpoints())
        .hint("move the folder away to start anew");
  if (found.checkpoint) {
    const TrainConfig saved = refuse_differences(run.config, *found.checkpoint);
    run.from = std::move(found.checkpoint);
    run.resumes = true;
    run.start_step = run.from->step();
    take_up(run, folder.checkpoints());
    messages.push_back(cat("resuming from step ", run.start_step));
    if (run.start_step >= run.config.trainer.num_train_steps) return;
    std::string change = schedule_change(saved, run.config, run.start_step);
    if (!change.empty()) messages.push_back(std::move(change));
    return;
  }
  const StartFrom& start = run.config.start_from;
  if (start.kind == StartKind::kNone) {
    messages.push_back(cat("starting anew with seed ", run.config.trainer.seed));
    return;
  }
  if (start.kind == StartKind::kHf) {
    run.hf = std::make_unique<const compat::HfWeights>(start.path->resolved);
    messages.push_back(cat("starting from ", run.hf->folder(), " (model)"));
    if (std::string line = run.hf->changed(); !line.empty()) messages.push_back(std::move(line));
    return;
  }
  FoundCheckpoint other = open_checkpoint(start.path->resolved);
  for (const std::string& problem : other.problems) messages.push_back(problem);
  run.from = std::move(other.checkpoint);
  run.restore_optimizer = start.what == StartPart::kAll;
  if (run.restore_optimizer) run.start_step = run.first_step = run.from->step();
  if (run.start_step >= run.config.trainer.num_train_steps)
    throw run.config
        .error(ErrorKind::kConfig, "trainer.num_train_steps",
               cat("start_from names a checkpoint of step ", run.start_step,
                   ", and the run would end at ", run.config.trainer.num_train_steps))
        .hint(
            "raise trainer.num_train_steps, or take the model alone: start_from.what = \"model\"");
  messages.push_back(
      cat("starting from ", run.from->folder(), " (", config::word_of(start.what), ")"));
}

/// A resumed run goes on with the data that it was begun with.
void check_data(const Run& run, std::vector<std::string>& messages) {
  const std::string& extra = run.from->manifest().extra_json;
  require_same_data(extra, *run.data, run.from->folder());
  if (!records_data(extra))
    messages.push_back(
        "the checkpoint does not say what its data held; that they are the same is not checked");
}

void check_numerics(const Run& run, const Backend& backend, std::vector<std::string>& messages) {
  if (run.start_step == 0 || !run.from) return;
  const std::string now = backend.numerics_signature() + "; mp " + run.config.trainer.precision();
  const std::string& saved = run.from->manifest().numerics;
  if (saved == now) return;
  const std::string difference = cat("numerics were \"", saved, "\" and are \"", now, "\"");
  if (run.config.trainer.require_same_bits)
    throw Error(ErrorKind::kCheckpoint, cat("the bits would differ: ", difference))
        .at(run.config.where("trainer.require_same_bits"))
        .hint("go on where the run was begun, or without trainer.require_same_bits");
  messages.push_back(difference);
}

void restore(const Run& run, Engine& engine) {
  engine.initialise(fold_in(run.root, "init"));
  if (run.hf) load_hf(*run.hf, model_spec(run.config), run.vocab, engine.model_targets());
  if (!run.from) return;
  for (const TensorTarget& target : engine.model_targets()) run.from->load(target);
  if (run.restore_optimizer)
    for (const TensorTarget& target : engine.optimizer_targets()) run.from->load(target);
}

/// out_of_memory() with what the run needs in all.
Error out_of_memory_of(const Run& run) {
  const Error plain = out_of_memory();
  if (run.need == 0) return plain;
  return Error(plain.kind(), cat(plain.message(), "; the run needs ", format_bytes(run.need),
                                 " beside the program and its texts"))
      .hint("levanter plan lists what takes it; `ulimit -v` limits it too");
}

void check_memory(const TrainConfig& config, const CompiledStep& step) {
  const MemoryTotal need = memory_total(step, config);
  if (need.needed() <= memory_limit()) return;
  throw Error(ErrorKind::kDevice, cat("the run needs ", format_bytes(need.needed()),
                                      " and there are ", format_bytes(memory_limit())))
      .at(config.where("trainer.microbatch_size"))
      .hint("levanter plan lists what takes it and which microbatch would fit");
}

/// Of the backend of one rank.
int threads(const TrainConfig& config) {
  if (config.trainer.threads) return static_cast<int>(*config.trainer.threads);
  return config.trainer.ranks > 1
             ? std::max<int>(1, available_threads() / static_cast<int>(config.trainer.ranks))
             : 0;
}

Prepared prepare(const TrainConfig& config, const RunOptions& options, int64_t vocab,
                 int64_t rank) {
  const bool eager = options.eager;
  auto backend = options.make_backend(eager ? "reference" : config.trainer.device, threads(config));
  if (config.trainer.debug && !backend->is_host())
    throw config
        .error(ErrorKind::kConfig, "trainer.debug",
               cat("trainer.debug reads the device's memory, which the host cannot do on ",
                   backend->name()))
        .hint("remove the key, or train on trainer.device = \"cpu\"");
  CompiledStep step(step_options(config, vocab, rank, !eager), *backend);
  if (rank == 0) check_memory(config, step);
  return {std::move(backend), std::move(step)};
}

/// Reads the texts with the tokenizer, null for one that they make. Where it or the config tells
/// the vocabulary, a run that does not fit is refused before.
void read_texts(Run& run, std::shared_ptr<const text::Tokenizer> tokenizer) {
  const std::optional<int64_t> vocab =
      tokenizer ? vocab_size(run.config, tokenizer.get()) : known_vocab_size(run.config, nullptr);
  if (vocab) run.prepared.emplace(prepare(run.config, run.options, *vocab, 0));
  run.data = load_data(run.config, std::move(tokenizer), run.options.cache_report);
  run.vocab = vocab_size(run.config, run.data->tokenizer().get());
  if (run.vocab != vocab) run.prepared.reset();
}

/// Reads the texts and makes steps of the run's epochs; says how many.
std::string count_epochs(Run& run) {
  TrainerConfig& trainer = run.config.trainer;
  read_texts(run, open_tokenizer(run.config));
  trainer.num_train_steps = steps_of_epochs(run.config, *run.data);
  const std::string epochs = format_number(*trainer.num_train_epochs);
  trainer.num_train_epochs.reset();
  return cat("trainer.num_train_epochs = ", epochs, " is ",
             count_of(trainer.num_train_steps, "step"));
}

/// One rank: its backend, its state, its part of every batch.
class Rank {
 public:
  Rank(Run& run, dist::Communicator& communicator)
      : Rank(run, communicator, prepared(run, communicator)) {}
  Rank(Run& run, dist::Communicator& communicator, Prepared made)
      : run_(run),
        communicator_(communicator),
        backend_(std::move(made.backend)),
        engine_(std::move(made.step), *backend_),
        sum_(communicator, *backend_, engine_.step().options.groups,
             engine_.step().layout.elements),
        schedule_(run.config.schedule()),
        optimizer_(optim::entry(run.config.optimizer.type)),
        scalars_(optimizer_.scalar_names.size()) {
    if (run.options.eager) engine_.observe(&nan_guard_);
    restore(run, engine_);
  }

  Engine& engine() { return engine_; }
  const Backend& backend() const { return *backend_; }

  /// Steps until the end or until asked to stop; the steps done.
  int64_t run(std::span<const std::unique_ptr<Hook>> hooks) {
    const int64_t last = run_.config.trainer.num_train_steps;
    data::Loader loader(training_source(), loading());
    double hook_time = 0;
    for (int64_t step = run_.start_step; step < last; ++step) {
      StepInfo info;
      info.step = step + 1;
      info.last = info.step == last;
      info.hook_time = hook_time;
      const double waited = loader.seconds_waited();
      const data::Batch& batch = loader.next();
      info.loading_time = loader.seconds_waited() - waited;
      auto start = Clock::now();
      if (!one_step(step, batch, hooks, info)) {
        for (const auto& hook : hooks) hook->stopped(step);
        return step;
      }
      info.duration = seconds_since(start);
      if (!info.report.proceeded && run_.config.trainer.crash_on_nan) stop_at_nan(info);
      start = Clock::now();
      for (const auto& hook : hooks) hook->after_step(info);
      hook_time = seconds_since(start);
    }
    return last;
  }

 private:
  static Prepared prepared(Run& run, const dist::Communicator& communicator) {
    Prepared made = communicator.rank() == 0 && run.prepared
                        ? std::move(*run.prepared)
                        : prepare(run.config, run.options, run.vocab, communicator.rank());
    if (communicator.rank() == 0) run.need = memory_total(made.step, run.config).needed();
    return made;
  }

  data::ExampleSource training_source() const {
    data::ExampleSource source =
        run_.data->training(training_options(run_.config, fold_in(run_.root, "data")));
    const int64_t length = source.examples->length().get();
    const TrainerConfig& t = run_.config.trainer;
    if (length != data::kEndless && length / t.train_batch_size < t.num_train_steps)
      throw run_.config
          .error(
              ErrorKind::kConfig, "trainer.num_train_steps",
              cat("the data end after ", count_of(length / t.train_batch_size, "step"),
                  " (data.stop_strategy = ", quote(config::word_of(run_.config.data.stop_strategy)),
                  "), before trainer.num_train_steps = ", format_count(t.num_train_steps)))
          .allowed(cat("at most ", length / t.train_batch_size))
          .hint("data.stop_strategy = \"restart\" begins components anew");
    return source;
  }

  /// This rank's rows: those of its groups' microbatches.
  data::LoaderOptions loading() const {
    const StepOptions& o = engine_.step().options;
    const dist::GroupRange groups = engine_.step().groups;
    const int64_t begin = dist::microbatches_of_group(o.microbatches, o.groups, groups.begin).begin;
    const int64_t end = dist::microbatches_of_group(o.microbatches, o.groups, groups.end - 1).end;
    data::LoaderOptions loading;
    loading.seq_len = o.shape.position;
    loading.batch_size = run_.config.trainer.train_batch_size;
    loading.first_row = begin * o.shape.batch;
    loading.rows = (end - begin) * o.shape.batch;
    loading.first_step = run_.start_step;
    loading.end_step = run_.config.trainer.num_train_steps;
    loading.prefetch = run_.config.data.prefetch;
    return loading;
  }

  /// False when asked to stop before the state was changed; then no rank has changed its own.
  bool one_step(int64_t step, const data::Batch& batch,
                std::span<const std::unique_ptr<Hook>> hooks, StepInfo& info) {
    const StepShape& shape = engine_.step().options.shape;
    const Key dropout = fold_in(run_.root, "dropout");
    engine_.begin_step(batch.loss_tokens, fold_in(dropout, static_cast<uint32_t>(step)));
    for (int64_t row = 0; row < batch.rows && !stop_requested(); row += shape.batch) {
      const auto at = static_cast<size_t>(row * shape.position);
      engine_.run_microbatch({batch.tokens.data() + at, batch.targets.data() + at,
                              batch.segment_ids.data() + at, batch.positions.data() + at,
                              batch.loss_weight.data() + at, batch.first_example + row});
    }
    if (dist::any(communicator_, stop_requested())) return false;
    sum_.run(engine_.subtree_sums(), engine_.total());
    for (const auto& hook : hooks) hook->before_update();
    info.lr = schedule_.at(step);
    optimizer_.scalars(*run_.config.optimizer, step, scalars_);
    info.report = engine_.run_update(info.lr, scalars_);
    return true;
  }

  [[noreturn]] void stop_at_nan(const StepInfo& info) const {
    throw Error(ErrorKind::kGuard,
                cat("step ", info.step, " has loss ", info.report.loss, " and gradient norm ",
                    info.report.grad_norm, "; the step was not taken"))
        .at(run_.config.where("trainer.crash_on_nan"))
        .hint(
            "run with --eager to see where it begins; trainer.crash_on_nan = false skips the step");
  }

  Run& run_;
  dist::Communicator& communicator_;
  std::unique_ptr<Backend> backend_;
  Engine engine_;
  dist::GradientSum sum_;
  Schedule schedule_;
  const optim::OptimizerEntry& optimizer_;
  std::vector<double> scalars_;
  NanGuard nan_guard_;
};

void log_summary(const HookContext& c, Tracker& tracker) {
  const Metrics facts = {
      {"parameter_count", static_cast<double>(c.engine.step().parameter_count())},
      {"dataset/total_tokens", static_cast<double>(c.data.train_tokens())},
      {"throughput/flops_per_example",
       c.engine.step().flops_per_token() * static_cast<double>(c.config.model->max_seq_len)},
      {"num_devices", static_cast<double>(c.config.trainer.ranks)},
      {"num_hosts", 1}};
  tracker.log_summary(facts);
  for (const auto& [name, value] : facts) c.summary.set(name, value);
  c.summary.set("backend", c.backend.name());
}

/// Whether the step of the checkpoint was to be evaluated and a stop came before the end of it.
bool owes_evaluation(const Run& run, const nlohmann::json& extra) {
  const TrainerConfig& t = run.config.trainer;
  if (run.start_step % t.steps_per_eval != 0 && run.start_step != t.num_train_steps) return false;
  return extra.contains("evaluated_step") && extra["evaluated_step"] != run.start_step;
}

/// What became of the texts, as lines for people and in the summary; `key` is the data's.
void log_counts(const HookContext& c, Key key) {
  int64_t rows = 0;
  const auto put = [&](const std::string& key, int64_t count) {
    c.summary.set(cat("dataset/", key), static_cast<double>(count));
  };
  for (const std::string& note : c.data.notes()) c.tracker.message(note);
  for (const data::ComponentCounts& counts : c.data.counts(training_options(c.config, key))) {
    for (const std::string& line : data::describe(counts)) c.tracker.message(line);
    const data::RowCounts& train = counts.train;
    rows += train.rows;
    put(cat(counts.name, "/documents"), train.documents);
    put(cat(counts.name, "/cut_documents"), train.cut);
    put(cat(counts.name, "/dropped_documents"), train.dropped);
    put(cat(counts.name, "/unlearned_documents"), train.unlearned);
    put(cat(counts.name, "/tokens"), train.tokens);
    put(cat(counts.name, "/learned_tokens"), train.learned);
    put(cat(counts.name, "/epoch_rows"), train.rows);
    put(cat(counts.name, "/empty_rows"), train.empty_rows);
    put(cat(counts.name, "/bad_records"), counts.read.bad);
    put(cat(counts.name, "/replaced_texts"), counts.read.replaced);
  }
  const int64_t batch = c.config.trainer.train_batch_size;
  put("epoch_rows", rows);
  put("epoch_steps", ceil_div(rows, batch));
}

TrackerContext tracker_context(const Run& run, const RunFolder& folder, double best_loss) {
  const TrainerConfig& trainer = run.config.trainer;
  TrackerContext context;
  context.run_folder = folder.path();
  context.run_id = run.config.run_id();
  context.total_steps = trainer.num_train_steps;
  context.resume_step = run.start_step;
  context.first_step = run.first_step;
  context.best_loss = best_loss;
  if (run.data->validation_tokens() > 0) {
    // A step goes forwards and, for twice the time, backwards.
    const auto rows = static_cast<double>(evaluation_rows(run.config, *run.data));
    context.steps_of_eval = rows / static_cast<double>(trainer.train_batch_size) / 3;
    context.steps_per_eval = trainer.steps_per_eval;
  }
  look_at_console(context);
  return context;
}

/// Says what the run is, and what was found when it started.
void introduce(const HookContext& c, const Run& run, const std::vector<std::string>& messages) {
  for (const std::string& line : messages) c.tracker.message(line);
  const RunFacts facts{c.engine.step().parameter_count(), run.vocab, c.data.train_tokens(),
                       c.data.validation_tokens(), c.epoch_length};
  for (const std::string& line : introduction(run.config, facts)) c.tracker.message(line);
  log_counts(c, fold_in(run.root, "data"));
}

std::vector<std::unique_ptr<Hook>> make_hooks(HookContext& context, bool owes_evaluation,
                                              std::optional<HfFolders>& hf) {
  std::vector<std::unique_ptr<Hook>> hooks;
  hooks.push_back(make_metrics_hook(context));
  hooks.push_back(make_evaluation_hook(context));
  StepInfo info;
  info.step = context.start_step;
  info.last = info.step == context.config.trainer.num_train_steps;
  if (owes_evaluation) {
    hooks.back()->after_step(info);
    // A checkpoint of another run, which this one began with, is not among its own.
    if (context.start_step > context.first_step &&
        context.summary.evaluated_loss() < context.kept.loss)
      context.kept = {info.step, context.summary.evaluated_loss()};
  }
  hooks.push_back(make_checkpoint_hook(context));
  // A checkpoint that stays, saved before its evaluation was through, does not know it yet.
  const bool own = info.last || context.start_step > context.first_step;
  if (owes_evaluation && own && context.summary.evaluated_step() == info.step)
    hooks.back()->after_step(info);
  if (hf) hooks.push_back(make_hf_save_hook(context, *hf));
  return hooks;
}

/// Rank 0: with the trackers, the hooks and the run's folder.
Outcome lead(Run& run, Rank& rank, RunFolder& folder, const std::vector<std::string>& messages) {
  const DeferredStop deferred;
  Summary summary;
  summary.set("id", run.config.run_id());
  const nlohmann::json extra = extra_of(run);
  if (extra.contains("best_step")) summary.restore_best(extra["best_loss"], extra["best_step"]);
  summary.restore_evaluated(extra.value("evaluated_step", int64_t{-1}));
  const auto tracker = make_trackers(run.config.trainer.tracker, trackers::entries(),
                                     tracker_context(run, folder, summary.best_loss()));
  HookContext hooks_context{
      .config = run.config,
      .data = *run.data,
      .backend = rank.backend(),
      .engine = rank.engine(),
      .tracker = *tracker,
      .summary = summary,
      .folder = folder,
      .start_step = run.start_step,
      .first_step = run.first_step,
      .kept = run.kept,
      .epoch_length = run.data->training(training_options(run.config, {})).epoch_length};
  log_summary(hooks_context, *tracker);
  introduce(hooks_context, run, messages);
  std::optional<HfFolders> hf;
  if (run.config.hf_save_path) {
    hf.emplace(run.config, [&](std::string_view line) { tracker->message(line); });
    hf->make_missing(folder.checkpoints(), run.start_step);
  }
  int64_t done = run.start_step;
  const bool owed = owes_evaluation(run, extra);
  std::vector<std::unique_ptr<Hook>> hooks = make_hooks(hooks_context, owed, hf);
  try {
    done = rank.run(hooks);
    hooks.clear();
    // Ended between its last checkpoint and its summary.
    if (run.start_step == run.config.trainer.num_train_steps && !owed)
      summary.log(evaluate_now(hooks_context), done);
  } catch (...) {
    const std::exception_ptr failure = std::current_exception();
    tracker->finish();  // what was measured before the error stays
    summary.set("status", stop_requested() ? "stopped" : "failed");
    try {
      folder.write_summary(summary);
    } catch (const Error&) {
      // The error that ended the run is the one to be told.
    }
    std::rethrow_exception(failure);
  }
  // Of a stop in what follows the last step, the next start does what is left.
  const bool finished = done == run.config.trainer.num_train_steps && !stop_requested();
  if (finished) summary.set("params_hash", params_hash(rank.engine().model_tensors()));
  summary.set("global_step", static_cast<double>(done));
  summary.set("status", finished ? "finished" : "stopped");
  tracker->finish();
  std::exception_ptr unwritten;  // the state itself is saved
  try {
    folder.write_summary(summary);
  } catch (const Error& error) {
    unwritten = std::current_exception();
    tracker->message(error.message());
  }
  if (finished) {
    tracker->message(farewell(run.config, best_checkpoint(folder.checkpoints())));
  }
  if (hf) hf->account();
  if (finished && unwritten) std::rethrow_exception(unwritten);  // the next start writes it
  return finished ? Outcome::kFinished : Outcome::kStopped;
}

/// Runs all ranks, rank 0 in this thread; the first error of any is thrown here.
Outcome run_ranks(Run& run, RunFolder& folder, std::vector<std::string> messages) {
  auto ends = dist::entry(run.config.trainer.communicator).make(run.config.trainer.ranks);
  std::vector<std::exception_ptr> errors(ends.size());
  Outcome outcome = Outcome::kFinished;
  const auto body = [&](size_t r) {
    try {
      Rank rank(run, *ends[r]);
      if (r > 0) {
        rank.run({});
      } else {
        check_numerics(run, rank.backend(), messages);
        outcome = lead(run, rank, folder, messages);
      }
    } catch (const std::bad_alloc&) {
      errors[r] = std::make_exception_ptr(out_of_memory_of(run));
      ends[r]->abandon();
    } catch (...) {
      errors[r] = std::current_exception();
      ends[r]->abandon();
    }
  };
  std::vector<std::thread> others;
  try {
    for (size_t r = 1; r < ends.size(); ++r)
      others.push_back(start_thread([&body, r] { body(r); }, static_cast<int>(r) - 1));
  } catch (const Error&) {  // no rank waits for those that are not there
    errors[0] = std::current_exception();
    for (const auto& end : ends) end->abandon();
  }
  if (!errors[0]) body(0);
  for (std::thread& other : others) other.join();
  // A rank that was only told of another's end says less than the other.
  std::exception_ptr first;
  for (const std::exception_ptr& error : errors) {
    if (!error) continue;
    if (!first) first = error;
    try {
      std::rethrow_exception(error);
    } catch (const Error& e) {
      if (e.kind() != ErrorKind::kInternal) first = error;
    } catch (...) {
    }
  }
  if (first) std::rethrow_exception(first);
  return outcome;
}

/// Writes the run's config.toml; what keeps it from being written, or "".
std::string write_config(const RunFolder& folder, const TrainConfig& config) {
  try {
    folder.write_config(print_config(config));
    return "";
  } catch (const Error& error) {
    return error.message();
  }
}

/// Removes the temporary checkpoints that the last save, failing or killed beside it, has left.
void remove_leftovers(const std::string& run_folder, int64_t last) {
  try {
    const std::string checkpoints = join_path(run_folder, "checkpoints");
    const int64_t best = best_checkpoint(checkpoints).step;
    if (list_temporaries(checkpoints, {last, best}).empty()) return;
    const RunFolder locked(run_folder);
    remove_temporaries(checkpoints, {last, best});
  } catch (const Error&) {
    // They only take space, and the next start tries again.
  }
}

/// What a finished run still lacks: Hugging Face folders that a kill or a full disk has cost.
Outcome make_up(const TrainConfig& config) {
  if (!config.hf_save_path) return Outcome::kAlreadyFinished;
  TrackerContext context;
  look_at_console(context);
  const std::string name = "console";
  const auto console = make_trackers(std::span(&name, 1), trackers::entries(), context);
  HfFolders hf(config, [&](std::string_view line) { console->message(line); });
  const std::string checkpoints = join_path(config.run_folder(), "checkpoints");
  const int64_t last = config.trainer.num_train_steps;
  if (hf.missing(checkpoints, last).empty()) return Outcome::kAlreadyFinished;
  const RunFolder folder(config.run_folder());
  hf.make_missing(checkpoints, last);
  throw_if_stopped();
  hf.account();
  return Outcome::kFinished;
}

}  // namespace

Outcome train(const TrainConfig& given, const RunOptions& options) {
  Run run{.config = given, .options = options};
  const TrainConfig& config = run.config;
  require_data(config, true);
  if (!config.not_trained.empty())
    throw config
        .error(ErrorKind::kConfig, "model",
               cat("the folder's settings matter in training, and are not implemented: ",
                   join(config.not_trained, ", ")))
        .hint("remove them from its config.json to train without them");
  require_precision(config,
                    *options.make_backend(options.eager ? "reference" : config.trainer.device, 1));
  std::vector<std::string> messages;
  if (config.trainer.num_train_epochs) messages.push_back(count_epochs(run));
  if (is_finished(config.run_folder(), config.trainer.num_train_steps)) {
    const auto last = find_latest(join_path(config.run_folder(), "checkpoints")).checkpoint;
    if (last && last->step() >= config.trainer.num_train_steps) {
      refuse_differences(config, *last);
      remove_leftovers(config.run_folder(), last->step());
      return make_up(config);
    }
    // Damaged since: what the previous good checkpoint leaves to do is done again.
  }
  run.root = key_from_seed(static_cast<uint64_t>(config.trainer.seed));
  // A new run's texts are read before its folder is made: a mistake in them leaves no trace.
  if (!run.data && config.start_from.kind == StartKind::kNone && !path_exists(config.run_folder()))
    read_texts(run, open_tokenizer(config));
  std::optional<RunFolder> opened(std::in_place, config.run_folder());
  RunFolder& folder = *opened;
  for (const std::string& message : folder.messages()) messages.push_back(message);
  choose_start(run, folder, messages);
  if (!run.from)
    if (std::string line = changed_tokenizer(config, run.hf ? run.hf->folder() : ""); !line.empty())
      messages.push_back(std::move(line));
  if (run.start_step > config.trainer.num_train_steps)
    return Outcome::kAlreadyFinished;  // and more
  if (run.from) {
    auto saved =
        text::load_tokenizer(run.from->tokenizer(), run.from->folder() + "/tokenizer.json");
    if (saved->name() != config.data.tokenizer.type)
      throw config.error(ErrorKind::kConfig, "data.tokenizer",
                         cat("data.tokenizer is ", config.data.tokenizer.type,
                             ", but the checkpoint was trained with ", saved->name()));
    if (!run.data || run.data->tokenizer()->identity() != saved->identity())
      read_texts(run, std::move(saved));
    if (run.resumes) check_data(run, messages);
  } else if (!run.data) {
    read_texts(run, open_tokenizer(config));
  }
  if (run.hf) check_hf(*run.hf, model_spec(config), run.vocab);
  const std::string unwritten = write_config(folder, config);
  if (!unwritten.empty())
    messages.push_back(cat(unwritten, "; the run goes on, every checkpoint has its own"));
  const Outcome outcome = run_ranks(run, folder, std::move(messages));
  if (!unwritten.empty()) write_config(folder, config);
  opened.reset();
  if (outcome == Outcome::kFinished)
    remove_leftovers(config.run_folder(), config.trainer.num_train_steps);
  return outcome;
}

}  // namespace levanter::train

// A training run from its config to its last checkpoint: start, ranks, end.
#include "train/run.h"

#include <algorithm>
#include <atomic>
#include <exception>
#include <memory>
#include <new>
#include <nlohmann/json.hpp>
#include <optional>

#include "base/files.h"
#include "base/integers.h"
#include "base/limits.h"
#include "base/stop.h"
#include "base/strings.h"
#include "checkpoint/folder.h"
#include "dist/communicator.h"
#include "record/run_record.h"
#include "report/page.h"
#include "train/config/profile_text.h"
#include "train/engine/all_parameters.h"
#include "train/hf/folders.h"
#include "train/hf/start.h"
#include "train/hooks.h"
#include "train/introduction.h"
#include "train/leader.h"
#include "train/rank.h"
#include "train/reference.h"
#include "train/ranks/devices.h"
#include "train/ranks/watchdog.h"
#include "train/setup.h"
#include "train/start.h"
#include "train/watch/samples.h"
#include "train/watch/step_trace.h"

namespace levanter::train {

namespace {

/// out_of_memory() with what the run needs in all.
Error out_of_memory_of(const Run& run) {
  const Error plain = out_of_memory();
  if (run.decision.need == 0) return plain;
  return Error(plain.kind(),
               cat(plain.message(), "; the run needs ", format_bytes(run.decision.need),
                   " besides the program and its texts"))
      .hint("levanter plan lists what takes it; `ulimit -v` limits it too");
}

void log_summary(const HookContext& c, std::span<const dist::Place> places, Tracker& tracker) {
  const Metrics facts = {
      {"parameter_count", static_cast<double>(c.engine.step().parameter_count())},
      {"dataset/total_tokens", static_cast<double>(c.data.train_tokens())},
      {"throughput/flops_per_example",
       c.engine.step().flops_per_token() * static_cast<double>(c.config.model->max_seq_len)},
      {"num_devices", static_cast<double>(c.config.trainer.ranks)},
      {"num_hosts", static_cast<double>(count_hosts(places))}};
  tracker.log_summary(facts);
  for (const auto& [name, value] : facts) c.summary.set(name, value);
  c.summary.set("backend", c.backend.name());
}

/// What was due after the step of the checkpoint and is not done, since a stop came before.
struct Owed {
  bool evaluation = false, samples = false;
};

Owed owed_by(const Run& run, const nlohmann::json& extra) {
  const TrainerConfig& t = run.config.trainer;
  const int64_t step = run.decision.start_step;
  const auto owes = [&](int64_t every, const char* done) {
    const bool due = step % every == 0 || step == t.num_train_steps;
    return due && extra.contains(done) && extra[done] != step;
  };
  // Samples of another run's steps are for that one to write.
  return {.evaluation = owes(t.steps_per_eval, "evaluated_step"),
          .samples = t.sample.every && step > run.decision.first_step &&
                     owes(*t.sample.every, "sampled_step")};
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

TrackerContext tracker_context(const Run& run, const Leader& leader, double best_loss) {
  const TrainerConfig& trainer = run.config.trainer;
  TrackerContext context;
  context.run_folder = leader.folder->path();
  context.run_id = run.config.run_id();
  context.total_steps = trainer.num_train_steps;
  context.resume_step = run.decision.start_step;
  context.first_step = run.decision.first_step;
  context.best_loss = best_loss;
  if (run.opened.data->validation_tokens() > 0) {
    // A step goes forwards and, for twice the time, backwards.
    const auto rows = static_cast<double>(evaluation_rows(run.config, *run.opened.data));
    context.steps_of_eval = rows / static_cast<double>(trainer.train_batch_size) / 3;
    context.steps_per_eval = trainer.steps_per_eval;
  }
  for (const config::Entry& entry : config_entries(run.config))
    context.config.emplace_back(entry.key, entry.text);
  context.record = leader.record->start_json();
  look_at_console(context);
  return context;
}

/// Says what the run is, and what was found when it started.
void introduce(const HookContext& c, const Run& run, const Rank& rank,
               const std::vector<std::string>& messages) {
  for (const std::string& line : messages) c.tracker.message(line);
  const RunFacts facts{c.engine.step().parameter_count(), run.decision.vocab, c.data.train_tokens(),
                       c.data.validation_tokens(), c.epoch_length};
  for (const std::string& line : introduction(run.config, facts)) c.tracker.message(line);
  if (run.places.size() > 1) c.tracker.message(describe_places(run.places, run.backend->threads()));
  if (const std::string& way = rank.way_of_arrays(); !way.empty())
    c.tracker.message(cat("ranks exchange through ", way));
  log_counts(c, fold_in(run.root, "data"));
  const TrainerConfig& trainer = run.config.trainer;
  if (!trainer.watch.every && trainer.watch != WatchConfig())
    c.tracker.message("trainer.watch.every is not set, so nothing is measured");
  if (!trainer.sample.every && trainer.sample != SampleConfig())
    c.tracker.message("trainer.sample.every is not set, so nothing is sampled");
  const ProfileConfig& profile = trainer.profile;
  if (!profile.steps.empty() && (profile.steps.back() <= run.decision.start_step ||
                                 profile.steps.front() > trainer.num_train_steps))
    c.tracker.message(cat("trainer.profile.steps = ", steps_text(profile),
                          ": none of them is still to be done, so there is no trace"));
}

std::vector<std::unique_ptr<Hook>> make_hooks(HookContext& context, const Owed& owed,
                                              std::vector<HfFolders>& hf) {
  std::vector<std::unique_ptr<Hook>> hooks;
  hooks.push_back(make_control_hook(context));
  hooks.push_back(make_metrics_hook(context));
  hooks.push_back(make_guard_hook(context));
  hooks.push_back(make_watch_hook(context));
  hooks.push_back(make_evaluation_hook(context));
  StepInfo info;
  info.step = context.start_step;
  info.last = info.step == context.config.trainer.num_train_steps;
  if (owed.evaluation) {
    hooks.back()->after_step(info);
    // A checkpoint of another run, which this one began with, is not among its own.
    if (context.start_step > context.first_step &&
        context.summary.evaluated_loss() < context.kept.loss)
      context.kept = {info.step, context.summary.evaluated_loss()};
  }
  if (auto hook = make_sample_hook(context)) {
    if (owed.samples) hook->after_step(info);
    hooks.push_back(std::move(hook));
  }
  for (HfFolders& folders : hf)
    if (auto hook = make_average_save_hook(context, folders)) hooks.push_back(std::move(hook));
  hooks.push_back(make_checkpoint_hook(context));
  // A checkpoint that stays, saved before these were through, does not know of them yet.
  const bool own = info.last || context.start_step > context.first_step;
  const bool evaluated = owed.evaluation && context.summary.evaluated_step() == info.step;
  const bool sampled = owed.samples && context.summary.sampled_step() == info.step;
  if (own && (evaluated || sampled)) hooks.back()->after_step(info);
  for (HfFolders& folders : hf) hooks.push_back(make_hf_save_hook(context, folders));
  return hooks;
}

/// Rank 0: from here on the run's folder says where it goes on, whatever happens.
Outcome roll_back(const Run& run, const Rollback& rollback, const RunFolder& folder,
                  Tracker& tracker) {
  Rollbacks all = run.decision.rollbacks;
  all.push_back(rollback);
  write_rollbacks(folder.path(), all);
  tracker.message(cat("rolling back to step ", rollback.back_to,
                      " or a checkpoint before it; batches ", rollback.first, " to ", rollback.last,
                      " are left out from now on"));
  finish(tracker, {"rolled back"});
  return Outcome::kRolledBack;
}

/// The last meeting; whether any rank was asked to stop, and so to leave out what follows the last
/// step. Collective.
bool meet_at_end(dist::Crew& crew) {
  meet(crew);
  return dist::any(crew.communicator(), stop_requested());
}

/// How the steps of rank 0 have ended.
struct Led {
  RankEnd end;
  bool stops = false;     ///< some rank, after them
  std::string hash = {};  ///< of the parameters after the last step
};

/// Rank 0: the hooks and the steps, then what the end needs of the other ranks.
Led lead_steps(Run& run, Rank& rank, Leader& leader, HookContext& context,
               std::vector<HfFolders>& hf) {
  const int64_t last = run.config.trainer.num_train_steps;
  const Owed owed = owed_by(run, extra_of(run));
  std::vector<std::unique_ptr<Hook>> hooks = make_hooks(context, owed, hf);
  StepTrace trace(run.config, rank.crew().communicator(),
                  [&](std::string_view line) { context.tracker.message(line); });
  meet(rank.crew());
  try {
    Led led{rank.run(hooks, trace)};
    leader.record->set("last_step", led.end.step);
    hooks.clear();
    // Ended between its last checkpoint and its summary.
    if (!led.end.rollback && run.decision.start_step == last && !owed.evaluation)
      context.summary.log(evaluate_now(context), led.end.step);
    if (!led.end.rollback && led.end.step == last) led.hash = params_hash(context.parameters);
    led.stops = meet_at_end(rank.crew());
    rank.end();  // as the others do; what follows is the first rank's alone
    return led;
  } catch (...) {
    const std::exception_ptr failure = std::current_exception();
    trace.end();  // while there is somebody to be told of it
    const Ending ending = ending_of(failure);
    finish(context.tracker, ending);  // what was measured before the error stays
    context.summary.set("status", ending.outcome);
    try {
      context.folder.write_summary(context.summary);
    } catch (const Error&) {
      // The error that ended the run is the one to be told.
    }
    leader.close_record(context.tracker, ending);
    std::rethrow_exception(failure);
  }
}

/// Rank 0, after the last step or a stop: the run's folder says how it ended.
Outcome conclude(const Run& run, Leader& leader, const HookContext& context, const Led& led,
                 std::span<const HfFolders> hf) {
  // Of a stop in what follows the last step, the next start does what is left.
  const bool finished =
      led.end.step == run.config.trainer.num_train_steps && !led.stops && !stop_requested();
  if (finished) context.summary.set("params_hash", led.hash);
  context.summary.set("global_step", static_cast<double>(led.end.step));
  const Ending ending = {finished ? "finished" : "stopped"};
  context.summary.set("status", ending.outcome);
  finish(context.tracker, ending);
  std::exception_ptr unwritten;  // the state itself is saved
  try {
    context.folder.write_summary(context.summary);
  } catch (const Error& error) {
    unwritten = std::current_exception();
    context.tracker.message(error.message());
  }
  leader.close_record(context.tracker, ending);
  if (finished && !unwritten)
    context.tracker.message(farewell(run.config, best_checkpoint(context.folder.checkpoints())));
  for (const HfFolders& folders : hf) folders.account();
  if (finished && unwritten) std::rethrow_exception(unwritten);  // the next start writes it
  return finished ? Outcome::kFinished : Outcome::kStopped;
}

/// What the run's checkpoint knows of its evaluations and samples.
void restore_evaluations(Summary& summary, const nlohmann::json& extra) {
  if (extra.contains("best_step")) summary.restore_best(extra["best_loss"], extra["best_step"]);
  summary.restore_evaluated(extra.value("evaluated_step", int64_t{-1}));
  summary.set_sampled(extra.value("sampled_step", int64_t{-1}));
}

/// Rank 0: with the trackers, the hooks and the run's folder.
Outcome lead(Run& run, Rank& rank, Leader& leader) {
  RunFolder& folder = *leader.folder;
  const DeferredStop deferred;
  Summary summary;
  summary.set("id", run.config.run_id());
  restore_evaluations(summary, extra_of(run));
  const auto tracker =
      make_trackers(run.config.trainer.tracker, tracker_context(run, leader, summary.best_loss()));
  const AllParameters all(rank.crew(), rank.engine());
  const std::vector<Tensor> parameters = all.tensors();
  Requests requests;
  HookContext context{
      .config = run.config,
      .data = *run.opened.data,
      .backend = *run.backend,
      .engine = rank.engine(),
      .exchange = rank.exchange(),
      .parameters = parameters,
      .tracker = *tracker,
      .summary = summary,
      .folder = folder,
      .crew = rank.crew(),
      .guard = rank.guard(),
      .watch = rank.watch(),
      .requests = requests,
      .start_step = run.decision.start_step,
      .first_step = run.decision.first_step,
      .kept = run.kept,
      .base = run.base,
      .epoch_length = run.opened.data->training(training_options(run.config, {})).epoch_length,
      .reference = run.reference};
  log_summary(context, run.places, *tracker);
  introduce(context, run, rank, leader.messages);
  std::vector<HfFolders> hf = hf_folders(run.config, *tracker);
  for (HfFolders& folders : hf) folders.make_missing(folder.checkpoints(), run.decision.start_step);
  const Led led = lead_steps(run, rank, leader, context, hf);
  if (led.end.rollback) return roll_back(run, *led.end.rollback, folder, *tracker);
  return conclude(run, leader, context, led, hf);
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

/// Whether a kill or a failing disk has cost a finished run something beside its results.
bool is_untidy(const std::string& run_folder) {
  const std::vector<std::string> names = list_directory(run_folder);
  return std::any_of(names.begin(), names.end(), is_temporary_name) ||
         !path_exists(join_path(run_folder, report::kReportFile)) ||
         record::state_of(run_folder, record::read_record(run_folder)) == record::kKilled;
}

/// Removes what the last save or a write left that failed or was killed, and writes the end into
/// the record and the page.
void tidy(const std::string& run_folder, int64_t last) {
  try {
    const std::string checkpoints = join_path(run_folder, "checkpoints");
    const int64_t best = best_checkpoint(checkpoints).step;
    if (list_temporaries(checkpoints, {last, best}).empty() && !is_untidy(run_folder)) return;
    const RunFolder locked(run_folder);
    remove_temporaries(checkpoints, {last, best});
    record::settle(run_folder, "finished", last);
    report::write_report(run_folder);
  } catch (const Error&) {
    // The results are there, and the next start tries again.
  }
}

/// What a finished run still lacks: Hugging Face folders that a kill or a full disk has cost.
Outcome make_up(const TrainConfig& config) {
  if (!config.hf_save_path) return Outcome::kAlreadyFinished;
  TrackerContext context;
  look_at_console(context);
  const auto console = make_trackers(trackers_named({"console"}), context);
  std::vector<HfFolders> hf = hf_folders(config, *console);
  const std::string checkpoints = join_path(config.run_folder(), "checkpoints");
  const int64_t last = config.trainer.num_train_steps;
  if (std::all_of(hf.begin(), hf.end(), [&](const HfFolders& folders) {
        return folders.missing(checkpoints, last).empty();
      }))
    return Outcome::kAlreadyFinished;
  const RunFolder folder(config.run_folder());
  for (HfFolders& folders : hf) folders.make_missing(checkpoints, last);
  throw_if_stopped();
  for (const HfFolders& folders : hf) folders.account();
  return Outcome::kFinished;
}

/// What a run ends with that has done all its steps before; nothing for others.
std::optional<Outcome> end_of_finished(const TrainConfig& config) {
  if (!is_finished(config.run_folder(), config.trainer.num_train_steps)) return std::nullopt;
  const auto last = find_latest(join_path(config.run_folder(), "checkpoints")).checkpoint;
  // Damaged since: what the previous good checkpoint leaves to do is done again.
  if (!last || last->step() < config.trainer.num_train_steps) return std::nullopt;
  refuse_differences(config, *last);
  tidy(config.run_folder(), last->step());
  return make_up(config);
}

/// Rank 0 alone: takes the run's folder, chooses what the run goes on from and reads its texts.
/// returns what the run ends with where nothing is left to train
std::optional<Outcome> begin_run(Run& run, Leader& leader) {
  const TrainConfig& config = run.config;
  std::vector<std::string>& messages = leader.messages;
  make_backend(run);
  read_early(run, messages);
  if (const std::optional<Outcome> end = end_of_finished(config)) return end;
  const RunFolder& folder = leader.folder.emplace(config.run_folder());
  for (const std::string& message : folder.messages()) messages.push_back(message);
  choose_start(run, folder, messages);
  const auto& [data, from, hf, base] = run.opened;
  const compat::HfWeights* const weights = hf ? hf.get() : base.hf.get();
  if (!from)
    if (std::string line = changed_tokenizer(config, weights ? weights->folder() : "");
        !line.empty())
      messages.push_back(std::move(line));
  if (run.decision.start_step > config.trainer.num_train_steps)
    return Outcome::kAlreadyFinished;  // and more
  read_chosen(run, messages);
  if (weights) check_hf(*weights, model_spec(config), run.decision.vocab);
  require_prompts(config, *run.opened.data->tokenizer(), run.decision.vocab);
  leader.begin_record(run);
  leader.unwritten = write_config(folder, config);
  if (!leader.unwritten.empty())
    messages.push_back(cat(leader.unwritten, "; the run goes on, every checkpoint has its own"));
  return std::nullopt;
}

/// Rank 0 alone, after the last step.
void end_run(const Run& run, Leader& leader, Outcome outcome) {
  if (!leader.unwritten.empty()) write_config(*leader.folder, run.config);
  leader.folder.reset();
  if (outcome == Outcome::kFinished)
    tidy(run.config.run_folder(), run.config.trainer.num_train_steps);
}

Outcome train_leading(Run& run, dist::Communicator& communicator, Leader& leader) {
  Rank rank(run, communicator);
  check_numerics(run, leader.messages);
  know_references(run, rank.engine(), rank.crew(), leader.messages);
  leader.write_plan(run.config, rank.engine().step());
  return lead(run, rank, leader);
}

/// What rank 0 says that the run ended with.
Outcome train_following(Run& run, dist::Communicator& communicator) {
  std::optional<Rank> rank(std::in_place, run, communicator);
  const DeferredStop deferred;  // a stop is rank 0's to save, and all wait for it
  serve_evaluation(rank->crew(), run.config, *run.opened.data, rank->exchange(), rank->engine());
  serve_parameters(rank->crew(), rank->engine());
  std::vector<std::string> unsaid;  // rank 0 tells people
  know_references(run, rank->engine(), rank->crew(), unsaid);
  std::vector<std::unique_ptr<Hook>> hooks;
  if (rank->engine().step().is_sharded())
    hooks.push_back(make_checkpoint_part_hook(rank->engine(), rank->crew()));
  serve_watch(rank->crew(), rank->watch());
  StepTrace trace(run.config, communicator);
  meet(rank->crew());
  rank->run(hooks, trace);
  meet_at_end(rank->crew());
  hooks.clear();
  rank.reset();
  return tell(communicator, Outcome::kFinished);
}

void require_trainable(const TrainConfig& config) {
  require_data(config, true);
  if (config.not_trained.empty()) return;
  throw config
      .error(ErrorKind::kConfig, "model",
             cat("the folder's settings matter in training, and are not implemented: ",
                 join(config.not_trained, ", ")))
      .hint("remove them from its config.json to train without them");
}

void require_ranks(const TrainConfig& config, int64_t started) {
  if (config.trainer.ranks == started) return;
  throw config
      .error(ErrorKind::kConfig, "trainer.ranks",
             cat("trainer.ranks = ", config.trainer.ranks, ", and ", started,
                 " processes were started"))
      .hint("leave it out: the launcher says how many there are");
}

/// The story of one rank: rank 0 begins and decides, all train, rank 0 says how it ended.
Outcome tell_story(Run& run, Process& process, dist::Communicator& communicator, Watchdog& watchdog,
                   Leader& leader) {
  dist::Crew crew(communicator);
  if (run.rank == 0) {
    // Ranks that are threads of one process have no processors that rank 0 has not.
    if (communicator.watch()) run.helpers = &crew;
    run.decision.outcome = begin_run(run, leader);
    if (!run.decision.outcome) decide(run, process, communicator);
    run.helpers = nullptr;
    crew.release();
  } else {
    help(run, crew);
  }
  run.decision = tell(communicator, run.decision);
  if (run.decision.outcome) return *run.decision.outcome;
  if (run.rank > 0) follow(run, process);
  dist::together(communicator, [&] { require_room(run); });
  watchdog.open_log(run.places[static_cast<size_t>(run.rank)], run.backend->threads(),
                    run.decision.start_step);
  if (run.rank > 0) return train_following(run, communicator);
  const Outcome outcome = train_leading(run, communicator, leader);
  end_run(run, leader, outcome);
  return tell(communicator, outcome);
}

Outcome run_rank(Run& run, Process& process, dist::Communicator& communicator, Watchdog& watchdog) {
  Leader leader;
  return leader.recorded([&] { return tell_story(run, process, communicator, watchdog, leader); });
}

/// One rank, from the checks that need no other.
Outcome train_as(const TrainConfig& config, const RunOptions& options, Process& process,
                 dist::Communicator& communicator) {
  dist::together(communicator, [&] {
    require_trainable(config);
    require_ranks(config, communicator.size());
  });
  Watchdog watchdog(config, communicator);
  const std::vector<dist::Place> places = dist::gather_places(communicator);
  watchdog.know(places);
  const size_t device = own_device(config, options, communicator, places);
  std::shared_ptr<const data::TextData> data;  // read once, however often the run begins
  int64_t vocab = 0;
  for (int64_t start = 0;; ++start) {
    Run run{.given = config,
            .options = options,
            .rank = communicator.rank(),
            .places = places,
            .device = device,
            .start = start};
    run.opened.data = data;
    run.decision.vocab = vocab;
    try {
      const Outcome end =
          watchdog.watch([&] { return run_rank(run, process, communicator, watchdog); });
      if (end != Outcome::kRolledBack) return end;
    } catch (const std::bad_alloc&) {
      throw out_of_memory_of(run);
    }
    data = run.opened.data;
    vocab = run.decision.vocab;
  }
}

}  // namespace

const char* word_of(Outcome outcome) {
  switch (outcome) {
    case Outcome::kFinished:
      return "finished";
    case Outcome::kAlreadyFinished:
      return "finished before";
    case Outcome::kStopped:
      return "stopped";
    case Outcome::kRolledBack:
      return "rolled back";
  }
  return "ended";
}

Outcome train(const TrainConfig& config, const RunOptions& options) {
  const dist::CommunicatorEntry& kind =
      options.communicator ? *options.communicator : dist::entry(config.trainer.communicator);
  Process process;
  std::atomic<Outcome> outcome = Outcome::kFinished;  // every rank's
  dist::run_ranks(kind, config.trainer.ranks, [&](dist::Communicator& communicator) {
    outcome = train_as(config, options, process, communicator);
  });
  return outcome;
}

Outcome train(const TrainConfig& config, const RunOptions& options,
              dist::Communicator& communicator) {
  Process process;
  return train_as(config, options, process, communicator);
}

}  // namespace levanter::train

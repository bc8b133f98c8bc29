// One rank of a run: its backend, its state, its part of every batch, and the loop over the steps.
#include "train/rank.h"

#include <algorithm>
#include <chrono>
#include <nlohmann/json.hpp>
#include <utility>

#include "base/stop.h"
#include "base/strings.h"
#include "device/ranges.h"
#include "dist/watch.h"
#include "train/guard/batches.h"
#include "train/setup.h"

namespace levanter::train {

namespace {

double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

/// What a rank tells the others when it has its gradients of a step.
struct Arrival {
  double seconds = 0;  ///< that it has worked since all have met
  bool stops = false;
};

}  // namespace

namespace {

const data::Batch& next_of(Batches& batches) {
  const Range range("wait for data");
  return batches.next();
}

}  // namespace

void meet(dist::Crew& crew) {
  if (crew.communicator().rank() == 0)
    crew.release();
  else
    crew.follow();
}

Rank::Rank(Run& run, dist::Communicator& communicator)
    : run_(run),
      communicator_(communicator),
      crew_(communicator),
      engine_(*std::move(run.step), *run.backend),
      exchange_(communicator, *run.backend, engine_),
      schedule_(run.config.schedule()),
      guard_(run.config.trainer.guard, extra_of(run).value("guard", nlohmann::json()),
             run.decision.rollbacks),
      watch_(run.config.trainer.watch, engine_, *run.backend) {
  if (run.options.eager) engine_.observe(&nan_guard_);
  restore(run, engine_);
}

RankEnd Rank::run(std::span<const std::unique_ptr<Hook>> hooks, StepTrace& trace) {
  const int64_t last = run_.config.trainer.num_train_steps;
  // What is wrong with the data, all ranks find.
  Batches batches(dist::together(communicator_, [&] { return training_source(); }), loading(),
                  guard_.rollbacks());
  double hook_time = 0;
  met_ = Clock::now();
  for (int64_t step = run_.decision.start_step; step < last; ++step) {
    trace.after(step);
    trace.before(step + 1);
    const Range range("step", ranges_are_shown() ? cat(step + 1) : "");
    StepInfo info;
    info.step = step + 1;
    info.last = info.step == last;
    info.hook_time = hook_time;
    const double waited = batches.seconds_waited();
    const data::Batch& batch = next_of(batches);
    info.loading_time = batches.seconds_waited() - waited;
    info.place = batch.step;
    info.limits = guard_.limits();
    auto start = Clock::now();
    if (!one_step(step, batch, hooks, info)) {
      dist::enter(communicator_, dist::Phase::kEnd, step);
      for (const auto& hook : hooks) hook->stopped(step);
      return {step};
    }
    info.duration = seconds_since(start);
    start = Clock::now();
    if (const std::optional<RankEnd> end = after_step(info, hooks)) return *end;
    met_ = Clock::now();
    hook_time = seconds_since(start);
  }
  trace.after(last);
  return {last};
}

std::optional<RankEnd> Rank::after_step(const StepInfo& done,
                                        std::span<const std::unique_ptr<Hook>> hooks) {
  const Range range("hooks");
  StepInfo info = done;
  dist::enter(communicator_, info.last ? dist::Phase::kEnd : dist::Phase::kBetween, info.step);
  info.verdict = guard_.judge(info.report);
  if (info.verdict.action) {
    exchange_.gather_gradients();
    for (const auto& hook : hooks) hook->refused(info);
    meet(crew_);
    if (info.verdict.action == GuardAction::kStop) stop_at(info);
    if (info.verdict.action == GuardAction::kRollback)
      return RankEnd{info.step - 1, guard_.back_from(info.step - 1, run_.decision.first_step,
                                                     info.verdict.reason)};
  }
  for (const auto& hook : hooks) {
    const Range of_hook(hook->name());
    hook->after_step(info);
  }
  const Range waits("wait for ranks");
  meet(crew_);
  return std::nullopt;
}

data::ExampleSource Rank::training_source() const {
  data::ExampleSource source =
      run_.opened.data->training(training_options(run_.config, fold_in(run_.root, "data")));
  const int64_t length = source.examples->length().get();
  const TrainerConfig& t = run_.config.trainer;
  const int64_t needed = places_of(guard_.rollbacks(), 0, t.num_train_steps).back().end;
  const data::BatchSizes sizes = run_.config.batch_sizes();
  if (length != data::kEndless && sizes.filled_by(length) < needed)
    throw run_.config
        .error(
            ErrorKind::kConfig, run_.decision.length_key,
            cat("the data end after ", count_of(sizes.filled_by(length), "step"),
                " (data.stop_strategy = ", quote(config::word_of(run_.config.data.stop_strategy)),
                "), before the run's ", count_of(t.num_train_steps, "step")))
        .allowed(cat("at most ", sizes.filled_by(length)))
        .hint("data.stop_strategy = \"restart\" begins components anew");
  return source;
}

data::LoaderOptions Rank::loading() const {
  const StepOptions& o = engine_.step().options;
  data::LoaderOptions loading;
  loading.seq_len = o.shape.position;
  loading.batch_size = run_.config.trainer.train_batch_size;
  loading.sizes = run_.config.batch_sizes();
  loading.part = [microbatch = o.shape.batch, all = o.groups,
                  own = engine_.step().groups](int64_t size) -> data::RowRange {
    const auto of = [&](int64_t group) {
      return dist::microbatches_of_group(size / microbatch, all, group);
    };
    const int64_t begin = of(own.begin).begin, end = of(own.end - 1).end;
    return {begin * microbatch, (end - begin) * microbatch};
  };
  loading.rows = loading.part(loading.batch_size).count;
  loading.first_step = run_.decision.start_step;
  loading.end_step = run_.config.trainer.num_train_steps;
  loading.prefetch = run_.config.data.prefetch;
  return loading;
}

void Rank::refresh_by_drawn(int64_t step, const data::Batch& batch) {
  constexpr optim::Refresh::By kDrawn = optim::Refresh::By::kDrawnLabels;
  if (!engine_.step().options.optimizer->refreshes(kDrawn, step)) return;
  const Range range("refresh");
  const Key key = fold_in(run_.root, "drawn labels");
  engine_.begin_step(batch.loss_tokens, fold_in(key, static_cast<uint32_t>(step)), true);
  for (int64_t round = 0; round < engine_.rounds(); ++round) run_round(batch, round);
  exchange_.sum_gradients();
  engine_.run_refresh(kDrawn, step);
}

bool Rank::one_step(int64_t step, const data::Batch& batch,
                    std::span<const std::unique_ptr<Hook>> hooks, StepInfo& info) {
  const StepShape& shape = engine_.step().options.shape;
  const Key dropout = fold_in(run_.root, "dropout");
  dist::Watch* const watch = communicator_.watch();
  if (watch) watch->take_waited();
  dist::enter(communicator_, dist::Phase::kMicrobatches, info.step);
  engine_.use_microbatches(run_.config.batch_sizes().of(batch.step) / shape.batch);
  engine_.begin_step(batch.loss_tokens, fold_in(dropout, static_cast<uint32_t>(step)));
  engine_.watch_attention(watch_.due(info.step));
  if (!sum_gradients(batch, info)) return false;
  {
    const Range range("update");
    for (const auto& hook : hooks) hook->before_update();
    info.lr = schedule_.at(step);
    info.report = engine_.run_update(step, info.lr, info.limits);
  }
  dist::enter(communicator_, dist::Phase::kParameters, info.step);
  {
    const Range range("share parameters");
    exchange_.share_parameters();
  }
  if (watch_.due(info.step)) {
    if (watch_.reads_gradients() && !engine_.step().gathers()) exchange_.gather_gradients();
    watch_.look();
  }
  if (info.report.proceeded) refresh_by_drawn(step, batch);
  if (watch) info.waited += watch->take_waited();
  return true;
}

bool Rank::sum_gradients(const data::Batch& batch, StepInfo& info) {
  const bool overlaps = exchange_.overlaps();
  const int64_t rounds = engine_.rounds() - (overlaps ? 1 : 0);
  for (int64_t round = 0; round < rounds && !stops(); ++round) run_round(batch, round);
  if (some_stop(overlaps, info)) return false;
  dist::enter(communicator_, dist::Phase::kGradients, info.step);
  if (!overlaps) {
    const Range range("sum over ranks");
    exchange_.sum_gradients();
    return true;
  }
  engine_.run_last_microbatch(rows_of(batch, rounds), exchange_.begin_sum());
  const Range range("wait for the sum over ranks");
  const double seconds = worked(info);
  exchange_.sum_gradients();
  compare(seconds, info);
  return true;
}

bool Rank::some_stop(bool overlaps, StepInfo& info) {
  const Range range("wait for ranks");
  if (overlaps) return dist::any(communicator_, stop_requested());
  return compare(worked(info), info);
}

Rows Rank::rows_of(const data::Batch& batch, int64_t round) const {
  const int64_t row = round * engine_.step().options.shape.batch;
  return {batch, row, batch.first_example + row};
}

void Rank::run_round(const data::Batch& batch, int64_t round) {
  if (round * engine_.step().options.shape.batch < batch.rows) {
    engine_.run_microbatch(rows_of(batch, round));
  } else {
    const Range range("microbatch of other ranks");
    engine_.attend_microbatch();
  }
}

bool Rank::stops() {
  if (!engine_.step().gathers()) return stop_requested();
  const Range range("wait for ranks");
  return dist::any(communicator_, stop_requested());
}

double Rank::worked(StepInfo& info) {
  if (communicator_.size() == 1) return 0;
  run_.backend->synchronize();  // what a device still computes is this rank's work
  if (dist::Watch* const watch = communicator_.watch()) info.waited += watch->take_waited();
  return seconds_since(met_) - info.waited;
}

bool Rank::compare(double seconds, StepInfo& info) {
  if (communicator_.size() == 1) return stop_requested();
  const Arrival own{seconds, stop_requested()};
  std::vector<Arrival> ranks = dist::gather(communicator_, own);
  const auto sooner = [](const Arrival& a, const Arrival& b) { return a.seconds < b.seconds; };
  const auto slowest = std::max_element(ranks.begin(), ranks.end(), sooner);
  const double longest = slowest->seconds;
  info.slowest_rank = slowest - ranks.begin();
  const auto median = ranks.begin() + (std::ssize(ranks) - 1) / 2;
  const bool stops = std::any_of(ranks.begin(), ranks.end(), [](auto& r) { return r.stops; });
  std::nth_element(ranks.begin(), median, ranks.end(), sooner);
  info.straggled = longest - median->seconds;
  return stops;
}

void Rank::stop_at(const StepInfo& info) const {
  if (communicator_.rank() > 0) throw dist::Abandoned(ErrorKind::kGuard);  // the first tells it
  throw Error(ErrorKind::kGuard,
              cat("step ", info.step, " ", info.verdict.reason, "; the step was not taken"))
      .at(run_.config.where(info.verdict.key))
      .hint(info.verdict.hint);
}

}  // namespace levanter::train

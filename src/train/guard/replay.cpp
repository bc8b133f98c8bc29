// Running the step of a bundle again.
#include "train/guard/replay.h"

#include "base/files.h"
#include "base/stop.h"
#include "base/strings.h"
#include "checkpoint/load.h"
#include "dist/communicator.h"
#include "text/tokenizer.h"
#include "train/rank.h"
#include "train/setup.h"
#include "train/start.h"

namespace levanter::train {

namespace {

/// The config of the run, for one rank.
TrainConfig config_of(const Checkpoint& state, std::span<const std::string> overrides) {
  TrainConfig config =
      parse_train_config(state.config_toml(), join_path(state.folder(), "config.toml"), overrides);
  config.trainer.ranks = 1;
  config.trainer.communicator = "single";
  return config;
}

void require_batch(const TrainConfig& config, const data::Batch& batch) {
  const int64_t positions = batch.rows > 0 ? std::ssize(batch.tokens) / batch.rows : 0;
  const int64_t wanted = config.batch_sizes().of(batch.step);
  if (batch.rows == wanted && positions == config.model->max_seq_len) return;
  throw Error(ErrorKind::kConfig,
              cat("the bundle's batch has ", batch.rows, " rows of ", positions,
                  " positions, and the config wants ", wanted, " of ", config.model->max_seq_len))
      .hint("leave out the overrides that change the batch");
}

/// A run that has come to the step, and goes no further.
void prepare(Run& run, const Bundle& bundle) {
  const std::shared_ptr<const Checkpoint>& state = run.opened.from;
  make_backend(run);
  run.decision.start_step = bundle.record.step - 1;
  const auto tokenizer =
      text::load_tokenizer(state->tokenizer(), join_path(state->folder(), "tokenizer.json"));
  run.decision.vocab = vocab_size(run.config, tokenizer.get());
  run.step.emplace(step_options(run.config, run.decision.vocab, 0, !run.options.eager),
                   *run.backend);
  require_memory(run.config, *run.step, *run.backend);
}

}  // namespace

Replay replay(const std::string& folder, std::span<const std::string> overrides,
              const RunOptions& options) {
  const Bundle bundle = read_bundle(folder);
  const auto state = std::make_shared<const Checkpoint>(read_checkpoint(bundle.state));
  const TrainConfig config = config_of(*state, overrides);
  require_batch(config, bundle.batch);
  Replay replay{.recorded = bundle.record, .now = {}, .reason = bundle.reason, .backend = {}};
  dist::run_ranks(dist::entry("single"), 1, [&](dist::Communicator& communicator) {
    Run run{.given = config, .options = options, .places = dist::gather_places(communicator)};
    run.opened.from = state;
    if (const auto base = base_of(state->manifest().extra_json))
      run.opened.base = open_base(base->kind, base->place);
    prepare(run, bundle);
    Rank rank(run, communicator);
    StepInfo info;
    info.limits = bundle.record.limits;
    if (!rank.one_step(bundle.record.step - 1, bundle.batch, {}, info)) throw_if_stopped();
    replay.now = {bundle.record.step,
                  bundle.record.place,
                  info.limits,
                  info.report.loss,
                  info.report.grad_norm,
                  gradients_hash(rank.engine()),
                  numerics_of(config, *run.backend)};
    replay.backend = run.backend->name();
    replay.taken = info.report.proceeded;
  });
  return replay;
}

}  // namespace levanter::train

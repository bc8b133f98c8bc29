// levanter train: trains, resuming by itself.
#include <algorithm>
#include <csignal>
#include <cstdio>

#include "base/error.h"
#include "base/files.h"
#include "base/strings.h"
#include "commands/progress.h"
#include "commands/command.h"
#include "commands/ranks/by_ranks.h"
#include "checkpoint/folder.h"
#include "dist/launcher.h"
#include "train/guard/replay.h"
#include "train/run.h"

namespace levanter::commands {

namespace {

constexpr Option kOptions[] = {
    {"config", "FILE", "the run's configuration", true, false, false, "", "replay"},
    {"eager", "", "run node by node on the reference backend; name the first NaN"},
    {"replay", "DIR",
     "in place of --config: run the step of a bundle again, <run>/bundles/step-N, and compare; the "
     "exit code is 7 where a bit differs"},
};

int exit_code(train::Outcome outcome) {
  return outcome == train::Outcome::kStopped ? static_cast<int>(ErrorKind::kSignal) : 0;
}

/// Says how the run ended where it is not seen already.
void say_end(train::Outcome outcome, const TrainConfig& config) {
  if (outcome == train::Outcome::kAlreadyFinished)
    std::fprintf(stderr, "%s has finished; nothing was changed\n", config.run_folder().c_str());
  if (outcome == train::Outcome::kStopped)
    std::fprintf(stderr, "%s\n",
                 list_checkpoints(join_path(config.run_folder(), "checkpoints")).empty()
                     ? "stopped before the first step was done; the same command starts anew"
                     : "stopped and saved; the same command goes on from there");
}

train::RunOptions options_of(const Arguments& a) {
  return {.eager = a.has("eager"), .cache_report = cache_progress(), .progress = phase_progress()};
}

/// A table of what the run has recorded and what the step gives now.
std::string table(const train::Replay& r) {
  const auto row = [](std::string_view name, std::string_view was, std::string_view is) {
    const auto wide = [](std::string_view text, size_t width) {
      return std::string(text) + std::string(width - std::min(width, text.size()), ' ');
    };
    return cat(wide(name, 15), wide(was, 34), is, "\n");
  };
  return cat(row("", "recorded", "now"),
             row("loss", train::float_text(r.recorded.loss), train::float_text(r.now.loss)),
             row("gradient norm", train::float_text(r.recorded.grad_norm),
                 train::float_text(r.now.grad_norm)),
             row("gradients", r.recorded.gradients, r.now.gradients));
}

/// Runs the step of a bundle again and says whether it is the same to the bit.
int replay(const Arguments& a) {
  if (!a.text("config").empty())
    throw Error(ErrorKind::kConfig, "levanter train reads --config or --replay, not both")
        .at("--config")
        .hint("the bundle has the run's configuration; --key=value changes it");
  const train::Replay r = train::replay(a.text("replay"), a.overrides, {.eager = a.has("eager")});
  std::string text = cat("step ", r.recorded.step, " ", r.reason, "; batch ", r.recorded.place,
                         ", again on ", r.backend, "\n\n", table(r), "\n");
  if (r.recorded.numerics != r.now.numerics)
    text +=
        cat("numerics were ", quote(r.recorded.numerics), " and are ", quote(r.now.numerics), "\n");
  text += r.same_bits() ? "equal" : "differs";
  print(cat(text, r.taken ? "; the step would be taken now" : "", "\n"));
  return r.same_bits() ? 0 : static_cast<int>(ErrorKind::kGuard);
}

int run(const Arguments& a) {
  const dist::Launched launched = dist::read_launched();
  if (!a.text("replay").empty()) {
    if (launched.rank > 0) {
      dist::let_first_rank_tell();
      return static_cast<int>(ErrorKind::kConfig);
    }
    if (launched.ranks > 1)
      throw Error(ErrorKind::kConfig, cat("levanter train --replay is one process, and ",
                                          launched.launcher, " has started ", launched.ranks))
          .hint("start it without the launcher");
    return replay(a);
  }
  std::signal(SIGPIPE, SIG_IGN);  // who watches may leave; the training goes on
  try {
    if (launched.ranks > 1)
      return run_by_ranks(
          a, launched, {"--trainer.communicator=mpi", cat("--trainer.ranks=", launched.ranks)},
          [&](const TrainConfig& config, dist::Communicator& communicator) {
            const train::Outcome outcome = train::train(config, options_of(a), communicator);
            if (communicator.rank() == 0) say_end(outcome, config);
            return exit_code(outcome);
          });
    const TrainConfig config = load_train_config(a.text("config"), a.overrides);
    const train::Outcome outcome = train::train(config, options_of(a));
    say_end(outcome, config);
    return exit_code(outcome);
  } catch (const dist::Abandoned& elsewhere) {
    return static_cast<int>(elsewhere.kind());  // the rank that it happened to says why
  }
}

}  // namespace

extern const CommandEntry train_entry;
const CommandEntry train_entry = {
    "train", "train a model; resumes by itself", "", 0, kOptions, true, run, {}, "do", true};

}  // namespace levanter::commands

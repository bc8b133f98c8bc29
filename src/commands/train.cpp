// levanter train: trains, resuming by itself.
#include <csignal>
#include <cstdio>

#include "base/error.h"
#include "base/files.h"
#include "base/strings.h"
#include "commands/progress.h"
#include "commands/command.h"
#include "checkpoint/folder.h"
#include "train/run.h"

namespace levanter::commands {

namespace {

constexpr Option kOptions[] = {
    {"config", "FILE", "the run's configuration", true},
    {"eager", "", "run node by node on the reference backend; name the first NaN"},
};

/// Says how the run ended where it is not seen already; the program's exit code.
int code_of(train::Outcome outcome, const TrainConfig& config) {
  switch (outcome) {
    case train::Outcome::kFinished:
      return 0;
    case train::Outcome::kAlreadyFinished:
      std::fprintf(stderr, "%s has finished; nothing was changed\n", config.run_folder().c_str());
      return 0;
    case train::Outcome::kStopped:
      std::fprintf(stderr, "%s\n",
                   list_checkpoints(join_path(config.run_folder(), "checkpoints")).empty()
                       ? "stopped before the first step was done; the same command starts anew"
                       : "stopped and saved; the same command goes on from there");
      return static_cast<int>(ErrorKind::kSignal);
  }
  return 0;
}

int run(const Arguments& a) {
  std::signal(SIGPIPE, SIG_IGN);  // who watches may leave; the training goes on
  const TrainConfig config = load_train_config(a.text("config"), a.overrides);
  try {
    const train::Outcome outcome =
        train::train(config, {.eager = a.has("eager"), .cache_report = cache_progress()});
    return code_of(outcome, config);
  } catch (const dist::Abandoned& elsewhere) {
    return static_cast<int>(elsewhere.kind());  // the rank that it happened to says why
  }
}

}  // namespace

extern const CommandEntry train_entry;
const CommandEntry train_entry = {
    "train", "train a model; resumes by itself", "", 0, kOptions, true, run};

}  // namespace levanter::commands

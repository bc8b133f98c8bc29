// Ranks that are processes: one is killed, or stands still, at a random moment. The others end,
// soon and with words, and the same command goes on to the same bits.
#include <signal.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>

#include "base/error.h"
#include "base/files.h"
#include "base/strings.h"
#include "faults/world.h"

namespace levanter::faults {

namespace {

constexpr int64_t kRanks = 3;
/// Longest waits, which the others' end may take besides what mpirun needs.
constexpr const char* kWatchdog = "watchdog = { start = \"6s\", step = \"6s\", save = \"6s\" }\n";
constexpr double kToTheEnd = 60;
constexpr int kLate = static_cast<int>(ErrorKind::kDevice);

std::string path_of_mpirun(const Lab& lab) {
  const char* const path = std::getenv("PATH");
  for (const std::string& folder : split(path ? path : "", ':'))
    if (const std::string file = join_path(folder, "mpirun"); path_exists(file))
      if (path_exists(join_path(parent_path(lab.program), "levanter_mpi.so"))) return file;
  throw Skipped{"no mpirun, or a program that is built without MPI"};
}

/// Processes that a process has started, of the threads that it has.
std::vector<int64_t> children_of(int64_t process) {
  std::vector<int64_t> children;
  std::error_code gone;
  for (const auto& thread :
       std::filesystem::directory_iterator(cat("/proc/", process, "/task"), gone)) {
    try {
      for (const std::string& word :
           split(trim(read_file(join_path(thread.path().string(), "children"))), ' '))
        if (!word.empty()) children.push_back(std::stoll(word));
    } catch (const Error&) {
      // The thread has ended meanwhile.
    }
  }
  std::sort(children.begin(), children.end());
  return children;
}

class Ranks final : public Trials {
 public:
  explicit Ranks(const Lab& lab)
      : world_(lab, {.name = "ranks",
                     .trainer = cat("threads = 1\nmicrobatch_size = 1\n", kWatchdog),
                     .launcher = {path_of_mpirun(lab), "--allow-run-as-root", "--oversubscribe",
                                  "-np", cat(kRanks)}}) {}

  Verdict run(int64_t, Chance& chance) override {
    world_.make();
    const int number = chance.below(2) == 0 ? SIGKILL : SIGSTOP;
    const auto rank = static_cast<size_t>(chance.below(kRanks));
    const double at = world_.seconds() * chance.between(0, 1);
    Process process = world_.train();
    // Before the first step the ranks are only joined, which is MPI's own matter.
    const std::string metrics = join_path(world_.lab().trial(), "out/logs/r/metrics.jsonl");
    const auto early = [&] {
      return process.seconds() < at || (number == SIGSTOP && !path_exists(metrics));
    };
    while (process.running() && early()) sleep_for(0.001);
    const std::vector<int64_t> ranks = children_of(process.id());
    if (!process.running() || rank >= ranks.size()) return world_.finish();
    ::kill(static_cast<pid_t>(ranks[rank]), number);
    const double asked = process.seconds();
    const Ended ended = process.wait(kToTheEnd);
    longest_ = std::max(longest_, process.seconds() - asked);
    ++(number == SIGKILL ? killed_ : stopped_);
    if (const auto crashed = crash(ended)) return *crashed;
    // One that is met as it ends has done all.
    const bool named = ended.code == kLate && is_named(ended, rank);
    if (number == SIGSTOP && ended.code != 0 && !named)
      return {Outcome::kLost, "a rank that stood still is not named: " + ended.words()};
    return world_.finish();
  }

  std::string notes() override {
    return cat(killed_, " killed, ", stopped_,
               " stood still; the longest until all had ended: ", format_fixed(longest_, 1), " s");
  }

 private:
  /// Whether a rank is told to be late, or in another's log: mpirun may lose the last lines of a
  /// job that is aborted.
  bool is_named(const Ended& ended, size_t rank) const {
    if (ended.output.find(" is late: ") != std::string::npos) return true;
    const std::string logs = join_path(world_.lab().trial(), "out/logs/r/ranks");
    for (const std::string& name : list_directory(logs)) {
      const std::string log = read_file(join_path(logs, name));
      if (log.find(cat(" for rank ", rank, " ")) != std::string::npos) return true;
    }
    return false;
  }

  World world_;
  int64_t killed_ = 0, stopped_ = 0;
  double longest_ = 0;
};

}  // namespace

std::unique_ptr<Trials> make_ranks(const Lab& lab) { return std::make_unique<Ranks>(lab); }

}  // namespace levanter::faults

// Several processes at once: runs that share a cache which none has made yet, and readers beside a
// trainer that makes and removes checkpoints all the time.
#include <signal.h>

#include <algorithm>

#include "base/error.h"
#include "base/files.h"
#include "base/strings.h"
#include "faults/world.h"

namespace levanter::faults {

namespace {

constexpr int kJobs = 8;

class Jobs final : public Trials {
 public:
  explicit Jobs(const Lab& lab) : world_(lab, {"jobs"}) {
    hash_ = params_hash(lab, world_.base(), "out/logs/r");
  }

  Verdict run(int64_t, Chance& chance) override {
    world_.make();
    const std::string trial = world_.lab().trial();
    std::vector<Process> processes;
    for (int i = 0; i < kJobs; ++i) {
      processes.emplace_back(
          world_.lab(), trial,
          std::vector<std::string>{"train", "--config", "run.toml", cat("--trainer.id=job-", i),
                                   cat("--hf_save_path=out/hf-", i),
                                   cat("--trainer.num_train_steps=", kSteps)});
      sleep_for(chance.between(0, 0.02));
    }
    for (int i = 0; i < kJobs; ++i) {
      const Ended ended = processes[static_cast<size_t>(i)].wait();
      if (const auto crashed = crash(ended)) return *crashed;
      if (ended.code != 0) return {Outcome::kLost, cat("job ", i, ": ", ended.words())};
    }
    for (int i = 0; i < kJobs; ++i) {
      const std::string hash = params_hash(world_.lab(), trial, cat("out/logs/job-", i));
      if (hash != hash_)
        return {Outcome::kSilent, cat("job ", i, " came to ", hash, " and not ", hash_)};
    }
    for (const std::string& file : files_below(join_path(world_.base(), "out/cache"))) {
      if (file_name(file) == "lock" || file.ends_with(".lock")) continue;
      const std::string path = join_path("out/cache", file);
      if (read_file(join_path(trial, path)) != read_file(join_path(world_.base(), path)))
        return {Outcome::kSilent, path + " differs"};
    }
    return {};
  }

 private:
  static constexpr int64_t kSteps = 200;

  World world_;
  std::string hash_;
};

class Reads final : public Trials {
 public:
  explicit Reads(const Lab& lab) : lab_(lab), world_(lab, {"reads"}) {
    world_.make();
    rename_path(lab_.trial(), folder_);
    start();
  }

  Verdict run(int64_t trial, Chance& chance) override {
    if (!trainer_->running()) {
      const Ended ended = trainer_->wait();
      start();
      return {Outcome::kCrash, "the trainer ended: " + ended.words()};
    }
    const std::string out = cat("exported-", trial);
    const std::vector<std::string> choices[] = {
        {"verify", "--checkpoint", "out/logs/r"},
        {"eval", "--checkpoint", "out/logs/r"},
        {"generate", "--checkpoint", "out/logs/r", "--prompt", "the", "--max-new-tokens", "4"},
        {"export", "--checkpoint", "out/logs/r", "--out", out}};
    const Ended ended = faults::run(lab_, folder_, chance.one_of(choices));
    remove_tree(join_path(folder_, out));
    if (const auto crashed = crash(ended)) return *crashed;
    return ended.code == 0 ? Verdict{} : Verdict{Outcome::kLost, ended.words()};
  }

  std::string notes() override {
    trainer_->signal(SIGTERM);
    const Ended ended = trainer_->wait();
    const std::string metrics = read_file(join_path(folder_, "out/logs/r/metrics.jsonl"));
    return cat("beside ", std::count(metrics.begin(), metrics.end(), '\n'),
               " steps of a trainer that saves every 20 ms and ended with ", ended.code);
  }

 private:
  void start() {
    trainer_.emplace(lab_, folder_,
                     std::vector<std::string>{"train", "--config", "run.toml",
                                              "--trainer.num_train_steps=100000000",
                                              "--trainer.checkpointer.keep=[]"});
    const std::string checkpoints = join_path(folder_, "out/logs/r/checkpoints");
    while (trainer_->running() && (!path_exists(checkpoints) || run_verify() != 0)) sleep_for(0.01);
  }
  int run_verify() const {
    return faults::run(lab_, folder_, {"verify", "--checkpoint", "out/logs/r"}).code;
  }

  const Lab& lab_;
  World world_;
  std::string folder_ = join_path(lab_.folder, "read");
  std::optional<Process> trainer_;
};

}  // namespace

std::unique_ptr<Trials> make_jobs(const Lab& lab) { return std::make_unique<Jobs>(lab); }
std::unique_ptr<Trials> make_reads(const Lab& lab) { return std::make_unique<Reads>(lab); }

}  // namespace levanter::faults

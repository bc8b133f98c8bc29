// Signals at random moments: every one is answered by a save and exit 75, also while the program
// starts, caches, evaluates or exports; and the same command goes on to the same bits.
#include <signal.h>

#include <algorithm>

#include "base/error.h"
#include "base/files.h"
#include "base/strings.h"
#include "faults/world.h"

namespace levanter::faults {

namespace {

constexpr int kSignals[] = {SIGTERM, SIGINT, SIGUSR1, SIGTERM, SIGINT,
                            SIGUSR1, SIGHUP, SIGUSR2, SIGXCPU};
constexpr int kStopped = static_cast<int>(ErrorKind::kSignal);
/// How long a program may take from its start to its first line, however busy the machine is.
constexpr double kToFirstLine = 2;

/// Signals a process and waits for its end; `longest` becomes the longest answer so far.
Ended stop(Process& process, int number, double& longest) {
  // Before its first line no program can answer: until then the system's own meaning holds.
  while (process.running() && !process.expects(number) && process.seconds() < kToFirstLine)
    sleep_for(0.0002);
  if (!process.running()) return process.wait();
  const double asked = process.seconds();
  process.signal(number);
  const Ended ended = process.wait();
  longest = std::max(longest, process.seconds() - asked);
  return ended;
}

class Stops final : public Trials {
 public:
  explicit Stops(const Lab& lab) {
    const std::string small = Recipe().model;
    const std::string big =
        "max_seq_len = 64\nhidden_dim = 288\nnum_layers = 6\nnum_heads = 6\nvocab_size = 32000\n";
    add(lab, {"one-thread"}, 4);
    add(lab, {"two-threads", small, "threads = 2\n"}, 4);
    add(lab,
        {"two-ranks", small,
         "threads = 1\nranks = 2\ncommunicator = \"threads\"\nmicrobatch_size = 2\n"},
        1);
    add(lab, {"bf16", small, "threads = 2\nmp = \"p=f32,c=bf16\"\n"}, 3);
    if (!lab.brief) add(lab, {"gpt2-15m", big, "threads = 2\n", 8, 4, "300ms"}, 2);
  }

  Verdict run(int64_t, Chance& chance) override {
    const auto drawn = static_cast<size_t>(chance.below(static_cast<int64_t>(lots_.size())));
    const World& world = *worlds_[lots_[drawn]];
    ++counts_[lots_[drawn]];
    world.make();
    for (int64_t left = 1 + chance.below(4) / 3; left > 0; --left) {
      const int number = chance.one_of(kSignals);
      Process process = world.train();
      const double at = world.seconds() * chance.between(0, chance.below(4) == 0 ? 0.1 : 1.1);
      while (process.running() && process.seconds() < at) sleep_for(0.001);
      const Ended ended = stop(process, number, longest_);
      if (const auto crashed = crash(ended)) return *crashed;
      if (ended.code == 0) break;  // it had finished, which the judge will see
      if (ended.code != kStopped)
        return {Outcome::kLost, cat("after signal ", number, ": ", ended.words())};
      ++stopped_;
    }
    return world.finish();
  }

  std::string notes() override {
    std::string text = cat(stopped_, " stops answered by exit 75, the slowest after ",
                           format_fixed(longest_, 2), " s; trials: ");
    for (size_t i = 0; i < names_.size(); ++i)
      text += cat(i ? ", " : "", names_[i], " ", counts_[i]);
    return text;
  }

 private:
  void add(const Lab& lab, Recipe recipe, int lots) {
    const std::string name = recipe.name;
    worlds_.push_back(std::make_unique<World>(lab, std::move(recipe)));
    for (int i = 0; i < lots; ++i) lots_.push_back(names_.size());
    names_.push_back(name);
    counts_.push_back(0);
  }

  std::vector<std::unique_ptr<World>> worlds_;
  std::vector<std::string> names_;
  std::vector<int64_t> counts_;
  std::vector<size_t> lots_;  ///< a world stands here as often as it is to be drawn
  double longest_ = 0;
  int64_t stopped_ = 0;
};

/// An evaluation that would take a minute or more is left as soon as the program is asked to.
class Evaluations final : public Trials {
 public:
  explicit Evaluations(const Lab& lab) : lab_(lab) {
    write_file_atomic(text_, some_text(kBytes, 1));
    make_directories(lab.trial());
    hash_ = finished_hash();
  }

  Verdict run(int64_t, Chance& chance) override {
    Process process(lab_, lab_.trial(), words(false));
    const std::string metrics = join_path(lab_.trial(), "out/r/metrics.jsonl");
    // The line of a step is written when the next one is logged: here, when its evaluation begins.
    const auto begun = [&] {
      if (!path_exists(metrics)) return false;
      const std::string lines = read_file(metrics);
      return std::count(lines.begin(), lines.end(), '\n') >= kStepsPerEval - 1;
    };
    while (process.running() && !begun()) sleep_for(0.002);
    sleep_for(chance.between(0, 1));
    const Ended ended = stop(process, chance.one_of(kSignals), longest_);
    if (const auto crashed = crash(ended)) return *crashed;
    if (ended.code != kStopped) return {Outcome::kLost, ended.words()};
    const std::string hash = finished_hash();
    if (hash == hash_) return {};
    return {Outcome::kSilent, cat("resumed to ", hash, " and not ", hash_)};
  }

  std::string notes() override {
    return cat("the slowest answer came after ", format_fixed(longest_, 2), " s");
  }

 private:
  static constexpr int64_t kBytes = 12'000'000;
  static constexpr int64_t kStepsPerEval = 10;

  std::vector<std::string> words(bool short_evaluations) const {
    return {"train", "--config", config_,
            cat("--trainer.max_eval_batches=", short_evaluations ? 1 : int64_t{1} << 30)};
  }

  /// Trains to the end with short evaluations; the hash of what came of it.
  std::string finished_hash() const {
    const Ended ended = faults::run(lab_, lab_.trial(), words(true));
    if (ended.code != 0) return "none: " + ended.words();
    return params_hash(lab_, lab_.trial(), "out/r");
  }

  const Lab& lab_;
  std::string text_ = join_path(lab_.folder, "long.txt");
  std::string config_ = made_config();
  std::string hash_;
  double longest_ = 0;

  std::string made_config() const {
    const std::string path = join_path(lab_.folder, "long.toml");
    write_file_atomic(path, cat(R"([model]
type = "gpt2"
max_seq_len = 128
hidden_dim = 128
num_layers = 2
num_heads = 4

[data]
tokenizer = { type = "char" }

[data.components.text]
train = ["long.txt"]
validation_fraction = 0.98

[trainer]
num_train_steps = 12
train_batch_size = 4
steps_per_eval = )",
                                kStepsPerEval, R"(
log_dir = "trial/out"
id = "r"
)"));
    return path;
  }
};

}  // namespace

std::unique_ptr<Trials> make_stops(const Lab& lab) { return std::make_unique<Stops>(lab); }
std::unique_ptr<Trials> make_evaluations(const Lab& lab) {
  return std::make_unique<Evaluations>(lab);
}

}  // namespace levanter::faults

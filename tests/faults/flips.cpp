// One bit of a file that the program reads is another one: it is noticed, or it changes nothing.
#include <signal.h>

#include <algorithm>
#include <filesystem>
#include <map>

#include "base/error.h"
#include "base/files.h"
#include "base/strings.h"
#include "faults/world.h"

namespace levanter::faults {

namespace {

namespace fs = std::filesystem;

constexpr const char* kTold = " changed since the export";  ///< of a file beside the weights
constexpr const char* kHfStep = "out/hf";

/// What a file is for, which says who reads it.
enum class Part { kCheckpoint, kCache, kRun, kText, kHf, kTokenizer };

struct Target {
  std::string path;  ///< in the folder of a trial
  Part part;
};

/// Flips one bit; many of them stand in the tensors, so half of the flips are in the first 4 KiB.
void flip(const std::string& path, Chance& chance) {
  std::string bytes = read_file(path);
  LEV_CHECK(!bytes.empty(), "a file to be damaged has bytes");
  const auto size = static_cast<int64_t>(bytes.size());
  const int64_t at = chance.below(chance.below(2) == 0 ? std::min<int64_t>(size, 4096) : size);
  bytes[static_cast<size_t>(at)] ^= static_cast<char>(1 << chance.below(8));
  write_file_atomic(path, bytes);
}

class Flips final : public Trials {
 public:
  explicit Flips(const Lab& lab) : world_(lab, {"flips"}) {
    stop_in_the_middle();
    for (const std::string& file : files_below(stopped_)) add(file);
    make_state();
    clean_ = read_all();
  }

  Verdict run(int64_t, Chance& chance) override {
    std::vector<Part> parts;
    for (const auto& [part, targets] : targets_) parts.push_back(part);
    const Part part = chance.one_of(parts);
    const std::string& file = chance.one_of(targets_[part]);
    make_state();
    flip(path(file), chance);
    ++flipped_[part];
    const Verdict verdict = judge(part, file);
    return {verdict.outcome, verdict.good() ? "" : cat("a bit of ", file, ": ", verdict.words)};
  }

  std::string notes() override {
    static constexpr const char* kNames[] = {"checkpoints", "token caches",        "run folder",
                                             "texts",       "Hugging Face folder", "tokenizer"};
    std::string text;
    for (const auto& [part, n] : flipped_)
      text += cat(text.empty() ? "" : ", ", kNames[static_cast<int>(part)], " ", n);
    return text;
  }

 private:
  std::string path(std::string_view file) const { return join_path(world_.lab().trial(), file); }

  /// A run that was stopped half-way: a permanent checkpoint and a temporary one, caches, a Hugging
  /// Face folder.
  void stop_in_the_middle() {
    world_.make();
    Process process = world_.train();
    const auto lines = [&] {
      const std::string metrics = path("out/logs/r/metrics.jsonl");
      const std::string text = path_exists(metrics) ? read_file(metrics) : "";
      return std::count(text.begin(), text.end(), '\n');
    };
    while (process.running() && lines() < 110) sleep_for(0.002);
    process.signal(SIGTERM);
    const Ended ended = process.wait();
    LEV_CHECK(ended.code == static_cast<int>(ErrorKind::kSignal),
              cat("a run is stopped half-way: ", ended.words()));
    rename_path(world_.lab().trial(), stopped_);
  }

  void make_state() const {
    remove_tree(world_.lab().trial());
    fs::copy(stopped_, world_.lab().trial(), fs::copy_options::recursive);
  }

  void add(const std::string& file) {
    if (file_name(file) == "lock" || file.find("tensorboard") != file.npos) return;
    if (file_size(join_path(stopped_, file)) == 0) return;
    static constexpr std::pair<std::string_view, Part> kParts[] = {
        {"/checkpoints/", Part::kCheckpoint},
        {"out/cache/", Part::kCache},
        {"out/logs/", Part::kRun},
        {kHfStep, Part::kHf},
        {"tokenizer/", Part::kTokenizer},
        {"", Part::kText}};
    const Part part = std::find_if(std::begin(kParts), std::end(kParts), [&](const auto& p) {
                        return file.find(p.first) != file.npos;
                      })->second;
    if (file == "run.toml") return;  // what a person wrote is what a person wants
    targets_[part].push_back(file);
    if (part == Part::kHf) hf_ = parent_path(file);
  }

  Verdict judge(Part part, const std::string& file) const {
    if (part == Part::kHf) return hf();
    return part == Part::kTokenizer ? tokenizer() : resume(part, file);
  }

  Verdict resume(Part part, const std::string& file) const {
    if (part == Part::kCheckpoint)
      if (const Verdict verdict = verified(file); !verdict.good()) return verdict;
    const std::string before = read_file(path(file));
    const Ended ended = world_.train().wait();
    if (const auto crashed = crash(ended)) return *crashed;
    if (ended.code != 0) return refused(ended);
    std::vector<std::string> but;
    // A digit of the history of losses may be another one: nothing is made of it.
    if (file_name(file) == "metrics.jsonl") but.push_back(file.substr(4));
    // A checkpoint that is left as it is, damaged, and of which nothing was made is no fault:
    // verify tells of it, and one whose manifest can not be read is left for people to see.
    if (part == Part::kCheckpoint && path_exists(path(file)) && read_file(path(file)) == before)
      but.push_back(file_name(file) == "manifest.json" ? parent_path(file.substr(4)) + "/"
                                                       : file.substr(4));
    Verdict verdict = world_.judge(but);
    if (verdict.outcome == Outcome::kLost) verdict.words += "; " + ended.words();
    return verdict;
  }

  Verdict verified(const std::string& file) const {
    const Ended ended = faults::run(world_.lab(), world_.lab().trial(),
                                    {"verify", "--checkpoint", parent_path(file)});
    if (const auto crashed = crash(ended)) return *crashed;
    return ended.code == 0 ? Verdict{Outcome::kSilent, "verify finds nothing"} : Verdict{};
  }

  /// A refusal is right when it is of a kind that people can mend.
  static Verdict refused(const Ended& ended) {
    const bool mendable = ended.code >= static_cast<int>(ErrorKind::kConfig) &&
                          ended.code <= static_cast<int>(ErrorKind::kIo);
    return {mendable ? Outcome::kDetected : Outcome::kLost, ended.words()};
  }

  /// What the readers of a Hugging Face folder, and of the tokenizer, make of them.
  std::map<std::string, Ended> read_all() const {
    const auto in_trial = [&](std::vector<std::string> words) {
      return faults::run(world_.lab(), world_.lab().trial(), std::move(words));
    };
    std::map<std::string, Ended> all;
    all["generate"] = in_trial({"generate", "--checkpoint", hf_, "--prompt", "the cat",
                                "--max-new-tokens", "20", "--seed", "1"});
    all["start_from"] = in_trial({"train", "--config", "run.toml", "--start_from.kind=hf",
                                  cat("--start_from.path=", hf_), "--trainer.num_train_steps=3",
                                  "--trainer.id=from", "--hf_save_path=out/other"});
    Ended& start = all["start_from"];
    if (start.code == 0 && start.output.find(kTold) == start.output.npos)
      start.output = params_hash(world_.lab(), world_.lab().trial(), "out/logs/from");
    return all;
  }

  Verdict hf() const {
    Verdict verdict{Outcome::kSurvived, ""};
    for (const auto& [name, ended] : read_all()) {
      if (const auto crashed = crash(ended)) return *crashed;
      if (ended.code != 0) {
        verdict = refused(ended);
        if (!verdict.good()) return verdict;
      } else if (ended.output.find(kTold) != ended.output.npos) {
        verdict = {Outcome::kDetected, ""};
      } else if (ended.output != clean_.at(name).output) {
        return {Outcome::kSilent, cat(name, " gives ", ended.output.substr(0, 200), " and not ",
                                      clean_.at(name).output.substr(0, 200))};
      }
    }
    return verdict;
  }

  /// A run whose tokenizer changed: its cache and its checkpoint know the old one.
  Verdict tokenizer() const {
    const Ended ended = world_.train().wait();
    if (const auto crashed = crash(ended)) return *crashed;
    return ended.code == 0 ? world_.judge() : refused(ended);
  }

  World world_;
  std::string stopped_ = join_path(world_.lab().folder, "stopped");
  std::map<Part, std::vector<std::string>> targets_;
  std::map<Part, int64_t> flipped_;
  std::string hf_;  ///< the last Hugging Face folder
  std::map<std::string, Ended> clean_;
};

}  // namespace

std::unique_ptr<Trials> make_flips(const Lab& lab) { return std::make_unique<Flips>(lab); }

}  // namespace levanter::faults

// Faults at chosen calls of the system: killed there, or the calls fail for a time.
#include <algorithm>
#include <cerrno>
#include <csignal>
#include <tuple>

#include "base/error.h"
#include "base/files.h"
#include "base/strings.h"
#include "faults/world.h"

namespace levanter::faults {

namespace {

constexpr int kTries = 8;  ///< a call that is drawn may not come: saves follow the clock

/// What the preloaded library is told; see inject.cpp.
struct Fault {
  std::string only = {};  ///< the class of calls that count; "": all
  int64_t first = 1, last = 1;
  int error = 0;  ///< 0: killed
  bool half = false;
};

/// A world in which calls are counted.
class CallWorld {
 public:
  CallWorld(const Lab& lab, Recipe recipe) : world_(lab, std::move(recipe)) {
    world_.make();
    remove_tree(log_path());
    const Ended ended = world_.train(environment({})).wait();
    LEV_CHECK(ended.code == 0, cat("counting disturbs nothing: ", ended.words()));
    const std::vector<std::string> words = split(trim(log()), ' ');
    for (size_t i = 1; i + 1 < words.size(); i += 2)
      if (const int64_t n = std::stoll(words[i + 1]); n > 0) counts_.emplace_back(words[i], n);
    LEV_CHECK(counts_.size() > 4, "the preloaded library counts the program's calls");
  }

  const World& world() const { return world_; }

  Process train(const Fault& fault) const {
    remove_tree(log_path());
    return world_.train(environment(fault));
  }
  /// What the library says of the last start.
  std::string log() const { return path_exists(log_path()) ? read_file(log_path()) : ""; }
  bool fired() const { return log().find("fired") != std::string::npos; }
  /// The first call that met the fault, for people.
  std::string where() const { return log().substr(0, log().find('\n')); }

  /// A call of a class that is as likely as any other class, or with `any` one of all calls.
  Fault draw(Chance& chance, bool any) const {
    Fault fault;
    int64_t count = 0;
    if (any) {
      for (const auto& [name, n] : counts_) count += n;
    } else {
      std::tie(fault.only, count) = chance.one_of(counts_);
    }
    fault.first = fault.last = 1 + chance.below(count);
    return fault;
  }

 private:
  std::string log_path() const { return join_path(world_.lab().folder, "calls.log"); }

  std::vector<std::string> environment(const Fault& fault) const {
    std::vector<std::string> names = {"LD_PRELOAD=" + world_.lab().library,
                                      "FAULTS_LOG=" + log_path()};
    if (counts_.empty()) return names;
    names.push_back(cat("FAULTS_FIRST=", fault.first));
    names.push_back(cat("FAULTS_LAST=", fault.last));
    if (!fault.only.empty()) names.push_back("FAULTS_CLASS=" + fault.only);
    if (fault.error) names.push_back(cat("FAULTS_ERROR=", fault.error));
    if (fault.half) names.push_back("FAULTS_HALF=1");
    return names;
  }

  World world_;
  std::vector<std::pair<std::string, int64_t>> counts_;  ///< calls of each class, undisturbed
};

class Kills final : public Trials {
 public:
  explicit Kills(const Lab& lab) : calls_(lab, {.name = "kills"}) {}

  Verdict run(int64_t, Chance& chance) override {
    calls_.world().make();
    std::string where;
    int64_t wanted = 1 + chance.below(4) / 3 * chance.below(3), killed = 0;
    for (int i = 0; i < kTries && killed < wanted; ++i) {
      Fault fault = calls_.draw(chance, chance.below(3) == 0);
      fault.half = chance.below(2) == 0;
      if (killed > 0) fault.first = fault.last = 1 + fault.first / 4;  // there is less left to do
      const Ended ended = calls_.train(fault).wait();
      if (const auto crashed = crash(ended)) return {crashed->outcome, where + crashed->words};
      if (ended.signal == SIGKILL) {
        ++killed;
        where += cat(calls_.where(), fault.half ? " (half); " : "; ");
      } else if (ended.code != 0) {
        return {Outcome::kLost, cat("after ", where, "it does not go on: ", ended.words())};
      } else if (killed == 0) {
        again();
      } else {
        break;
      }
    }
    kills_ += killed;
    Verdict verdict = calls_.world().finish();
    if (!verdict.good()) verdict.words = cat("after ", where, verdict.words);
    return verdict;
  }

  std::string notes() override { return cat(kills_, " kills"); }

 private:
  void again() const {
    remove_tree(calls_.world().lab().trial());
    calls_.world().make();
  }

  CallWorld calls_;
  int64_t kills_ = 0;
};

class FailingCalls final : public Trials {
 public:
  explicit FailingCalls(const Lab& lab) : calls_(lab, {.name = "failing", .best_is_sure = false}) {}

  Verdict run(int64_t, Chance& chance) override {
    static constexpr int kErrors[] = {ENOSPC, EIO, EROFS, EDQUOT};
    for (int i = 0; i < kTries && (i == 0 || !calls_.fired()); ++i) {
      remove_tree(calls_.world().lab().trial());
      calls_.world().make();
      const int64_t form = chance.below(3);  // one call, some, all from there on
      Fault fault = calls_.draw(chance, form > 0);
      if (form > 0) fault.last = form == 1 ? fault.first + 2 + chance.below(60) : INT64_MAX;
      fault.error = chance.one_of(kErrors);
      fault.half = fault.error == ENOSPC || fault.error == EDQUOT;
      if (fault.half) ++fault.last;  // the rest of a write done by half
      const Ended ended = calls_.train(fault).wait();
      if (!calls_.fired() && ended.code == 0) continue;
      static constexpr const char* kForms[] = {"once", "for a time", "from there on"};
      const std::string met = cat("after ", calls_.where(), " (", system_words(fault.error), ", ",
                                  kForms[form], "), ", ended.words().substr(0, 200), ": ");
      if (const auto crashed = crash(ended)) return {crashed->outcome, met};
      if (ended.code != 0 && ended.code != static_cast<int>(ErrorKind::kIo))
        return {Outcome::kLost, met + "not an error of input or output"};
      ++(ended.code == 0 ? went_on_ : ended_);
      Verdict verdict = calls_.world().finish();
      if (!verdict.good()) verdict.words = met + verdict.words;
      return verdict;
    }
    return {Outcome::kLost, "no drawn call came"};
  }

  std::string notes() override {
    return cat(went_on_, " runs went on to their end, ", ended_, " ended with exit 6");
  }

 private:
  CallWorld calls_;
  int64_t went_on_ = 0, ended_ = 0;
};

}  // namespace

std::unique_ptr<Trials> make_kills(const Lab& lab) { return std::make_unique<Kills>(lab); }
std::unique_ptr<Trials> make_failing_calls(const Lab& lab) {
  return std::make_unique<FailingCalls>(lab);
}

}  // namespace levanter::faults

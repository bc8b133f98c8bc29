// What all kinds of trials share: where things are, chance that can be repeated, how a trial ended.
#pragma once

#include <cstdint>
#include <iterator>
#include <memory>
#include <string>
#include <string_view>

#include "base/random.h"

namespace levanter::faults {

enum class Outcome {
  kSurvived,  ///< all that an undisturbed program gives, to the bit
  kDetected,  ///< refused with words that say why
  kLost,      ///< refused without need, or something is missing for good
  kSilent,    ///< another result without a word
  kCrash,     ///< ended by a signal or as a defect of the program, or it hangs
};
constexpr int kOutcomes = 5;

struct Verdict {
  Outcome outcome = Outcome::kSurvived;
  std::string words = {};  ///< what went wrong

  bool good() const { return outcome == Outcome::kSurvived || outcome == Outcome::kDetected; }
};

/// Thrown where this machine can not do a kind of trials.
struct Skipped {
  std::string why;
};

/// Random choices of one trial, all from seed, kind and number of the trial.
class Chance final {
 public:
  explicit Chance(Key key) : key_(key) {}

  /// An integer in [0, bound).
  int64_t below(int64_t bound) {
    return static_cast<int64_t>(random_below(key_, next_++, static_cast<uint64_t>(bound)));
  }
  /// A number in [low, high).
  double between(double low, double high) {
    return low + (high - low) * static_cast<double>(below(1 << 30)) / (1 << 30);
  }
  template <class Choices>
  const auto& one_of(const Choices& choices) {
    return choices[static_cast<size_t>(below(static_cast<int64_t>(std::size(choices))))];
  }

 private:
  Key key_;
  uint64_t next_ = 0;
};

struct Lab {
  std::string program;  ///< levanter itself
  std::string library;  ///< what is preloaded
  std::string folder;   ///< for all that the trials write
  bool brief = false;   ///< the short form

  /// Where every trial works, and every world's undisturbed run did: paths stand in what they
  /// write, and so are the same.
  std::string trial() const { return folder + "/trial"; }
};

/// One kind of trials, prepared.
class Trials {
 public:
  virtual ~Trials() = default;
  /// How many trials, where `usual` is the number of its form.
  virtual int64_t count(int64_t usual) { return usual; }
  /// One trial in `lab.trial()`, which is empty.
  virtual Verdict run(int64_t trial, Chance& chance) = 0;
  /// After the last one: what was measured, "" for nothing.
  virtual std::string notes() { return ""; }
};

struct Kind {
  std::string_view name, what;
  int64_t full, brief;  ///< trials of the full and of the short form
  std::unique_ptr<Trials> (*make)(const Lab&);
};

std::unique_ptr<Trials> make_stops(const Lab& lab);
std::unique_ptr<Trials> make_evaluations(const Lab& lab);
std::unique_ptr<Trials> make_ranks(const Lab& lab);
std::unique_ptr<Trials> make_kills(const Lab& lab);
std::unique_ptr<Trials> make_failing_calls(const Lab& lab);
std::unique_ptr<Trials> make_disks(const Lab& lab);
std::unique_ptr<Trials> make_flips(const Lab& lab);
std::unique_ptr<Trials> make_jobs(const Lab& lab);
std::unique_ptr<Trials> make_reads(const Lab& lab);
std::unique_ptr<Trials> make_hostile(const Lab& lab);

}  // namespace levanter::faults

// How long a rank waits for ranks of other processes, and what it says of those that are late.
#include "dist/watch.h"

#include <algorithm>

#include "base/strings.h"

namespace levanter::dist {

namespace {

constexpr double kLongestBlink = 1;    ///< seconds between two looks that count as waited
constexpr double kNextSpeaker = 3;     ///< seconds until another rank says what the first has not
constexpr double kLoggedWait = 1;      ///< seconds
constexpr int64_t kMostLogged = 1000;  ///< lines, for a rank that is late at every step
constexpr size_t kMostNamed = 8;       ///< ranks of one error

bool contains(std::span<const int64_t> ranks, int64_t rank) {
  return std::find(ranks.begin(), ranks.end(), rank) != ranks.end();
}

}  // namespace

void Watch::enter(Phase phase, int64_t step) {
  phase_ = phase;
  step_ = step;
  service_.clear();
}

Watch::Deadline Watch::deadline() const {
  if (phase_ == Phase::kStart) return {"trainer.watchdog.start", deadlines_.start};
  const bool between = phase_ == Phase::kBetween || phase_ == Phase::kEnd;
  if (between) return {"trainer.watchdog.save", deadlines_.save};
  return {"trainer.watchdog.step", deadlines_.step};
}

std::string Watch::phase_words() const {
  const std::string service = service_.empty() ? "" : cat(" (", service_, ")");
  switch (phase_) {
    case Phase::kStart:
      return cat("at the start", service);
    case Phase::kMicrobatches:
      return cat("in step ", step_, " (microbatches)");
    case Phase::kGradients:
      return cat("in step ", step_, " (sum of gradients)");
    case Phase::kParameters:
      return cat("in step ", step_, " (exchange of parameters)");
    case Phase::kBetween:
      return cat("after step ", step_, service);
    case Phase::kEnd:
      return cat("after the last step, ", step_, service);
  }
  return "";
}

std::string Watch::name(int64_t rank) const {
  if (rank == kNobody) return "the devices";
  const auto r = static_cast<size_t>(rank);
  return r < places_.size() ? cat("rank ", rank, " on ", places_[r].host) : cat("rank ", rank);
}

Error Watch::late(std::span<const int64_t> ranks, double seconds) const {
  std::vector<std::string> names;
  for (const int64_t rank : ranks.first(std::min(ranks.size(), kMostNamed)))
    names.push_back(name(rank));
  if (ranks.size() > kMostNamed) names.push_back(cat(ranks.size() - kMostNamed, " more"));
  const bool one = ranks.size() == 1;
  return Error(ErrorKind::kDevice, cat(join(names, ", "), one ? " is late: " : " are late: ",
                                       name(rank_), " has waited for ", one ? "it" : "them",
                                       " for ", format_duration(seconds), " ", phase_words()))
      .allowed(cat(deadline().key, " = ", format_duration(deadline().seconds)))
      .hint(
          "look after what runs there, and give the same command again, which goes on from the "
          "last checkpoint; for ranks that are only slow, raise the deadline");
}

Error Watch::stuck(double seconds) const {
  return Error(ErrorKind::kDevice,
               cat("the devices of the ranks exchange nothing: ", name(rank_), " has waited for ",
                   format_duration(seconds), " ", phase_words()))
      .allowed(cat(deadline().key, " = ", format_duration(deadline().seconds)))
      .hint(
          "look after the devices and what joins them, and give the same command again, which goes "
          "on from the last checkpoint; NCCL_DEBUG=INFO says more, and LEVANTER_NCCL=0 goes "
          "through the host's memory");
}

void Watch::end(double seconds, int64_t rank) {
  if (std::this_thread::get_id() == thread_) waited_ += seconds;
  if (seconds <= kLoggedWait || !log_ || logged_ >= kMostLogged) return;
  ++logged_;
  log_(cat("waited ", format_duration(seconds), " for ", name(rank), " ", phase_words(),
           logged_ < kMostLogged ? "" : "; further waits are not logged"));
}

bool Watch::Wait::is_too_long(int64_t rank) {
  const Clock::time_point now = Clock::now();
  seconds_ += std::min(std::chrono::duration<double>(now - seen_).count(), kLongestBlink);
  seen_ = now;
  rank_ = rank;
  return seconds_ > watch_.deadline().seconds;
}

bool Watch::Wait::speaks(std::span<const int64_t> late) const {
  int64_t lowest = 0;
  while (contains(late, lowest)) ++lowest;
  double longest = watch_.deadline().seconds;
  if (lowest > 0) longest += kNextSpeaker;  // for one below may wait too, and say so first
  if (lowest != watch_.rank_) longest += kNextSpeaker;
  return seconds_ > longest;
}

}  // namespace levanter::dist

// How long a rank waits for ranks of other processes, and what it says of those that are late.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <limits>
#include <span>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "base/error.h"
#include "dist/communicator.h"

namespace levanter::dist {

/// What the ranks of a run are at.
enum class Phase {
  kStart,         ///< until the first step
  kMicrobatches,  ///< until every rank has its gradients of a step
  kGradients,     ///< which are summed
  kParameters,    ///< which some ranks have updated for all
  kBetween,       ///< what follows a step: evaluations, checkpoints
  kEnd,           ///< what follows the last one
};

/// The longest waits of one exchange, in seconds.
struct Deadlines {
  static constexpr double kNone = std::numeric_limits<double>::infinity();
  double start = 6 * 3600;
  double step = 600;   ///< in a step
  double save = 1800;  ///< between steps and after the last
};

/// One rank's waits. A communicator whose ranks can be missed has one.
class Watch final {
 public:
  /// Until it is told otherwise a rank is at the start, with the deadlines that are the default.
  explicit Watch(int64_t rank) : rank_(rank) {}

  void set_deadlines(const Deadlines& deadlines) { deadlines_ = deadlines; }
  /// Where each rank runs, for what is said of it.
  void set_places(std::vector<Place> places) { places_ = std::move(places); }
  /// Hears a line of every wait of more than a second, up to a thousand of them; null for nobody.
  void set_log(std::function<void(const std::string&)> log) { log_ = std::move(log); }

  /// What the ranks are at from here on; `step` counts from 1.
  void enter(Phase phase, int64_t step);
  /// What rank 0 has called them to, between two steps.
  void enter_service(std::string_view name) { service_ = name; }

  /// Seconds that this rank has waited since this was last asked: in exchanges of the thread that
  /// made the watch, and what add_waited says. An exchange of another thread may wait while this
  /// rank goes on.
  double take_waited() { return std::exchange(waited_, 0); }
  /// So long it has waited for one of those.
  void add_waited(double seconds) { waited_ += seconds; }

  /// kDevice: these ranks have not taken part for so long; names them, their machines, what was
  /// waited for and who waited.
  Error late(std::span<const int64_t> ranks, double seconds) const;
  /// kDevice: all ranks have taken part, and what their devices send has not come for so long.
  Error stuck(double seconds) const;
  /// In the place of a rank where it is the devices that are waited for.
  static constexpr int64_t kNobody = -1;

  /// The wait of one exchange, as long as it lives.
  class Wait final {
   public:
    explicit Wait(Watch& watch) : watch_(watch) {}
    ~Wait() { watch_.end(seconds_, rank_); }
    Wait(const Wait&) = delete;
    Wait& operator=(const Wait&) = delete;

    /// Whether the exchange, which still waits for `rank`, has waited too long. Ask at least ten
    /// times a second: what is longer, this process has stood still itself, which is no wait.
    bool is_too_long(int64_t rank);
    /// Whether it is for this rank to say so: rank 0 does at once, the lowest of those that are not
    /// late a few seconds later, for who is late to one may itself wait for another; then the rest.
    bool speaks(std::span<const int64_t> late) const;
    double seconds() const { return seconds_; }

   private:
    using Clock = std::chrono::steady_clock;
    Watch& watch_;
    Clock::time_point seen_ = Clock::now();
    double seconds_ = 0;
    int64_t rank_ = -1;
  };

 private:
  /// Of what the ranks are at.
  struct Deadline {
    const char* key;  ///< of the config
    double seconds;
  };
  Deadline deadline() const;
  std::string phase_words() const;
  std::string name(int64_t rank) const;
  void end(double seconds, int64_t rank);

  int64_t rank_;
  Deadlines deadlines_;
  std::vector<Place> places_;
  std::function<void(const std::string&)> log_;
  Phase phase_ = Phase::kStart;
  int64_t step_ = 0;
  std::string service_;
  std::thread::id thread_ = std::this_thread::get_id();
  double waited_ = 0;
  int64_t logged_ = 0;
};

/// Watch::enter, where ranks can be missed.
inline void enter(Communicator& communicator, Phase phase, int64_t step) {
  if (Watch* const watch = communicator.watch()) watch->enter(phase, step);
}

}  // namespace levanter::dist

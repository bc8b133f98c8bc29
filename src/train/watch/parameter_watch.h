// What is measured of the parameters at some steps: trainer.watch.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "dist/crew.h"
#include "trackers/tracker.h"
#include "train/config/train_config.h"
#include "train/engine/engine.h"

namespace levanter::train {

/// One rank's: each measures what it updates, norms row by row and a histogram where a parameter's
/// first row is its own, so that no number depends on how many ranks there are or what they have.
class ParameterWatch final {
 public:
  /// All of these outlive it.
  ParameterWatch(const WatchConfig& config, const Engine& engine, const Backend& backend)
      : config_(config), engine_(engine), backend_(backend) {}

  /// Whether step `step`, counted from 1, is looked at.
  bool due(int64_t step) const { return config_.every && step % *config_.every == 0; }
  /// Whether look reads whole gradients: then they are to be gathered before.
  bool reads_gradients() const { return config_.has(WatchKind::kHistogram); }
  /// After such a step's update, with the new parameters, while the gradients are there.
  void look();

  struct Seen {
    Metrics metrics;
    Histograms histograms;
  };
  /// What all ranks have seen in the last look; means something on the first. Collective, where
  /// ranks have parameters of their own.
  Seen gather(dist::Communicator& communicator) const;
  /// Whether gather is.
  bool is_shared() const { return engine_.step().is_sharded(); }

 private:
  /// A Histogram without its limits, which follow from its ends; sent as it is.
  struct Spread {
    int64_t count;
    double min, max, sum, sum_squares;
    std::array<int64_t, Histogram::kBins> counts;
  };

  void measure_spreads();
  std::vector<std::string> histogram_names() const;

  const WatchConfig& config_;
  const Engine& engine_;
  const Backend& backend_;
  std::vector<float> values_;    ///< as Engine::watched
  std::vector<Spread> spreads_;  ///< of each covered parameter its gradient and itself
};

/// Another rank than the first: its part, when it is called to it. The watch outlives the crew's
/// last call.
void serve_watch(dist::Crew& crew, const ParameterWatch& watch);

}  // namespace levanter::train

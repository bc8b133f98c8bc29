// The losses of a run so far as one line of characters.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace levanter::trackers {

class Sparkline final {
 public:
  explicit Sparkline(int64_t total_steps);

  /// Adds a step's loss; one that is not finite is left out.
  void add(int64_t step, double loss);

  /// `width` characters in UTF-8, each standing for an equal share of the run's steps: the mean
  /// loss of these from the lowest, ▁, to the highest mean, █; · for steps that were done without a
  /// loss being told, as before a resume; a space for those to come.
  std::string draw(int width) const;

 private:
  struct Share {
    double sum = 0;
    int64_t count = 0;
  };
  Share share_between(size_t begin, size_t end) const;

  int64_t total_steps_, last_step_ = 0;
  std::vector<Share> shares_;  ///< finer than any line
};

}  // namespace levanter::trackers

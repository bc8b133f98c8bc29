#include "trackers/sparkline.h"

#include <algorithm>
#include <cmath>
#include <optional>
#include <string_view>

namespace levanter::trackers {

namespace {

constexpr size_t kShares = 240;
constexpr std::string_view kLevels[] = {"▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"};
constexpr std::string_view kUnknown = "·";

}  // namespace

Sparkline::Sparkline(int64_t total_steps)
    : total_steps_(std::max<int64_t>(total_steps, 1)), shares_(kShares) {}

void Sparkline::add(int64_t step, double loss) {
  last_step_ = std::clamp<int64_t>(step, last_step_, total_steps_);
  if (!std::isfinite(loss) || step < 1 || step > total_steps_) return;
  const double before = static_cast<double>(step - 1) / static_cast<double>(total_steps_);
  Share& share = shares_[static_cast<size_t>(before * kShares)];
  share.sum += loss;
  ++share.count;
}

Sparkline::Share Sparkline::share_between(size_t begin, size_t end) const {
  Share all;
  for (size_t i = begin; i < end; ++i) {
    all.sum += shares_[i].sum;
    all.count += shares_[i].count;
  }
  return all;
}

std::string Sparkline::draw(int width) const {
  const auto cells = static_cast<size_t>(std::clamp<int>(width, 0, kShares));
  std::vector<std::optional<double>> means(cells);
  double lowest = INFINITY, highest = -INFINITY;
  for (size_t i = 0; i < cells; ++i) {
    const Share share = share_between(i * kShares / cells, (i + 1) * kShares / cells);
    if (share.count == 0) continue;
    means[i] = share.sum / static_cast<double>(share.count);
    lowest = std::min(lowest, *means[i]);
    highest = std::max(highest, *means[i]);
  }
  const double done = static_cast<double>(last_step_) / static_cast<double>(total_steps_);
  const double range = highest - lowest;
  std::string line;
  for (size_t i = 0; i < cells; ++i) {
    if (means[i]) {
      const double height = range > 0 ? (*means[i] - lowest) / range : 0;
      line += kLevels[std::lround(height * (std::size(kLevels) - 1))];
    } else {
      const bool is_done = static_cast<double>(i + 1) <= done * static_cast<double>(cells);
      line += is_done ? kUnknown : " ";
    }
  }
  return line;
}

}  // namespace levanter::trackers

// Spans of numbers for the kernels' tests: random ones, and ones whose surroundings are watched.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

namespace levanter::testing {

constexpr int64_t kMargin = 16;
constexpr float kPoison = -12345.0f;

/// A span between margins that must stay poisoned.
class Guarded {
 public:
  explicit Guarded(int64_t n) : n_(n), values_(static_cast<size_t>(n + 2 * kMargin), kPoison) {}
  Guarded(const std::vector<float>& content) : Guarded(static_cast<int64_t>(content.size())) {
    std::copy(content.begin(), content.end(), values_.begin() + kMargin);
  }
  float* data() { return values_.data() + kMargin; }
  std::vector<float> content() const {
    return {values_.begin() + kMargin, values_.begin() + kMargin + n_};
  }
  bool intact() const {
    const auto poisoned = [](float x) { return x == kPoison; };
    return std::all_of(values_.begin(), values_.begin() + kMargin, poisoned) &&
           std::all_of(values_.end() - kMargin, values_.end(), poisoned);
  }

 private:
  int64_t n_;
  std::vector<float> values_;
};

}  // namespace levanter::testing

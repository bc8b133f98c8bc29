// Matrices in int8, each row with a scale: how a frozen model is held that is to be small.
#include "train/adapter/quantize.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace levanter::train {

namespace {

constexpr float kLargest = 127;

int8_t rounded(float w, float scale) {
  if (scale == 0) return 0;
  if (std::isnan(scale)) return 1;
  return static_cast<int8_t>(std::clamp(std::nearbyint(w / scale), -kLargest, kLargest));
}

}  // namespace

void quantize(std::span<const float> w, MatrixOrder order, std::span<float> scales,
              std::span<int8_t> values) {
  const size_t outs = scales.size(), ins = w.size() / std::max<size_t>(1, outs);
  const bool out_first = order == MatrixOrder::kOutIn;
  const auto output_of = [&](size_t line, size_t at) { return out_first ? line : at; };
  const size_t lines = out_first ? outs : ins, width = out_first ? ins : outs;
  std::fill(scales.begin(), scales.end(), 0.0f);
  for (size_t line = 0; line < lines; ++line)
    for (size_t at = 0; at < width; ++at) {
      float& scale = scales[output_of(line, at)];
      const float size = std::abs(w[line * width + at]);
      if (!std::isfinite(size)) scale = std::numeric_limits<float>::quiet_NaN();
      if (size > scale) scale = size;  // false for NaN
    }
  for (float& scale : scales) scale /= kLargest;
  for (size_t line = 0; line < lines; ++line)
    for (size_t at = 0; at < width; ++at)
      values[line * width + at] = rounded(w[line * width + at], scales[output_of(line, at)]);
}

}  // namespace levanter::train

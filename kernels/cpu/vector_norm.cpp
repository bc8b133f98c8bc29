// Layer norm, forward and backward.
// Plain twin: src/ops/composite/layer_norm.cpp.
#include "kernels/cpu/vector_math.h"
#include "kernels/cpu/vector_parts.h"

namespace levanter::cpu::LEVANTER_ISA {
namespace {

void layer_norm(float* y, float* mean, float* rstd, const float* x, const float* weight,
                const float* bias, int64_t rows, int64_t width, float epsilon, Centre centre) {
  const float size = static_cast<float>(width);
  for (int64_t r = 0; r < rows; ++r, x += width, y += width) {
    float average = 0;
    if (centre == Centre::kYes)
      average =
          sum_vectors(width, [=](int64_t i, int64_t count) { return load_up_to(x + i, count); }) /
          size;
    const Floats center = splat(average);
    const float variance = sum_vectors(width,
                                       [=](int64_t i, int64_t count) {
                                         Floats d = load_up_to(x + i, count) - center;
                                         if (count != kLanes)
                                           d = select(lanes_below(count), d, splat(0.0f));
                                         return d * d;
                                       }) /
                           size;
    const float inverse = 1.0f / __builtin_sqrtf(variance + epsilon);
    const Floats by = splat(inverse);
    for_vectors(width, [=](int64_t i, int64_t count) {
      Floats h = (load_up_to(x + i, count) - center) * by;
      if (weight != nullptr) h = h * load_up_to(weight + i, count);
      if (bias != nullptr) h = h + load_up_to(bias + i, count);
      store_up_to(y + i, h, count);
    });
    mean[r] = average;
    rstd[r] = inverse;
  }
}

/// dy times the weight, 0 in the lanes from count on.
[[gnu::always_inline]] inline Floats scaled_gradient(const float* dy, const float* weight,
                                                     int64_t i, int64_t count) {
  const Floats g = load_up_to(dy + i, count);
  return weight != nullptr ? g * load_up_to(weight + i, count) : g;
}

void layer_norm_backward(float* dx, const float* dy, const float* x, const float* mean,
                         const float* rstd, const float* weight, int64_t rows, int64_t width,
                         Centre centre) {
  const float size = static_cast<float>(width);
  for (int64_t r = 0; r < rows; ++r, x += width, dy += width, dx += width) {
    const Floats center = splat(mean[r]), by = splat(rstd[r]);
    float mean_g = 0;
    if (centre == Centre::kYes)
      mean_g =
          sum_vectors(width, [=](int64_t i,
                                 int64_t count) { return scaled_gradient(dy, weight, i, count); }) /
          size;
    const float mean_gh = sum_vectors(width,
                                      [=](int64_t i, int64_t count) {
                                        const Floats h = (load_up_to(x + i, count) - center) * by;
                                        return scaled_gradient(dy, weight, i, count) * h;
                                      }) /
                          size;
    const Floats shift = splat(mean_g), slope = splat(mean_gh);
    for_vectors(width, [=](int64_t i, int64_t count) {
      const Floats h = (load_up_to(x + i, count) - center) * by;
      const Floats g = scaled_gradient(dy, weight, i, count);
      store_up_to(dx + i, by * ((g - shift) - h * slope), count);
    });
  }
}

/// Adds the columns [c, c + kVectors * 16) of the block, or the last `count` < 16 of them.
template <int kVectors>
[[gnu::always_inline]] inline void weight_columns(float* dweight, float* dbias, const float* dy,
                                                  const float* x, const float* mean,
                                                  const float* rstd, int64_t rows, int64_t width,
                                                  int64_t c, int64_t count) {
  Floats weight_sum[kVectors], bias_sum[kVectors];
#pragma GCC unroll 4
  for (int v = 0; v < kVectors; ++v) {
    weight_sum[v] = load_up_to(dweight + c + v * kLanes, count);
    bias_sum[v] = dbias != nullptr ? load_up_to(dbias + c + v * kLanes, count) : splat(0.0f);
  }
  for (int64_t r = 0; r < rows; ++r) {
    const Floats center = splat(mean[r]), by = splat(rstd[r]);
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) {
      const int64_t at = r * width + c + v * kLanes;
      const Floats g = load_up_to(dy + at, count);
      weight_sum[v] = weight_sum[v] + g * ((load_up_to(x + at, count) - center) * by);
      bias_sum[v] = bias_sum[v] + g;
    }
  }
#pragma GCC unroll 4
  for (int v = 0; v < kVectors; ++v) {
    store_up_to(dweight + c + v * kLanes, weight_sum[v], count);
    if (dbias != nullptr) store_up_to(dbias + c + v * kLanes, bias_sum[v], count);
  }
}

void layer_norm_weight_block(float* dweight, float* dbias, const float* dy, const float* x,
                             const float* mean, const float* rstd, int64_t rows, int64_t width) {
  int64_t c = 0;
  for (; c + 4 * kLanes <= width; c += 4 * kLanes) {
    weight_columns<4>(dweight, dbias, dy, x, mean, rstd, rows, width, c, kLanes);
  }
  for (; c + kLanes <= width; c += kLanes) {
    weight_columns<1>(dweight, dbias, dy, x, mean, rstd, rows, width, c, kLanes);
  }
  if (c < width) {
    weight_columns<1>(dweight, dbias, dy, x, mean, rstd, rows, width, c, width - c);
  }
}

}  // namespace

void fill_norm(VectorKernels& table) {
  table.layer_norm = layer_norm;
  table.layer_norm_backward = layer_norm_backward;
  table.layer_norm_weight_block = layer_norm_weight_block;
}

}  // namespace levanter::cpu::LEVANTER_ISA

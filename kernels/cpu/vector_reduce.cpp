// Sums, maxima, sums over rows, and the AdamW update.
// Plain twins: kernels/reference/reduce.cpp and src/ops/composite/adamw.cpp.
#include "kernels/cpu/vector_math.h"
#include "kernels/cpu/vector_parts.h"

namespace levanter::cpu::LEVANTER_ISA {
namespace {

float sum(const float* a, int64_t n) {
  return sum_vectors(n, [=](int64_t i, int64_t count) { return load_up_to(a + i, count); });
}

float sum_squares(const float* a, int64_t n) {
  return sum_vectors(n, [=](int64_t i, int64_t count) {
    const Floats x = load_up_to(a + i, count);
    return x * x;
  });
}

float dot(const float* a, const float* b, int64_t n) {
  return sum_vectors(n, [=](int64_t i, int64_t count) {
    return load_up_to(a + i, count) * load_up_to(b + i, count);
  });
}

float max(const float* a, int64_t n) {
  const Floats lowest = splat(-__builtin_inff());
  Floats largest = lowest;
  Ints nan = splat(int32_t{0});
  for_vectors(n, [&](int64_t i, int64_t count) {
    const Floats x = load_up_to(a + i, count);
    nan = nan | (x != x);
    largest = larger(select(lanes_below(count), x, lowest), largest);
  });
  const float any_nan = fold_max(select(nan, splat(1.0f), splat(0.0f)));
  return any_nan != 0.0f ? __builtin_nanf("") : fold_max(largest);
}

void add_to(float* y, const float* a, int64_t n) {
  for_vectors(n, [=](int64_t i, int64_t count) {
    store_up_to(y + i, load_up_to(y + i, count) + load_up_to(a + i, count), count);
  });
}

void scale(float* y, const float* a, float factor, int64_t n) {
  const Floats by = splat(factor);
  for_vectors(n, [=](int64_t i, int64_t count) {
    store_up_to(y + i, by * load_up_to(a + i, count), count);
  });
}

/// y[c] = or += the rows' sums, in row order.
template <bool kAdds>
void rows_sum(float* y, const float* a, int64_t stride, int64_t rows, int64_t width) {
  int64_t c = 0;
  for (; c + 4 * kLanes <= width; c += 4 * kLanes) {
    Floats sum[4];
#pragma GCC unroll 4
    for (int v = 0; v < 4; ++v) sum[v] = kAdds ? load(y + c + v * kLanes) : splat(0.0f);
    const float* row = a + c;
    for (int64_t r = 0; r < rows; ++r, row += stride) {
#pragma GCC unroll 4
      for (int v = 0; v < 4; ++v) sum[v] = sum[v] + load(row + v * kLanes);
    }
#pragma GCC unroll 4
    for (int v = 0; v < 4; ++v) store(y + c + v * kLanes, sum[v]);
  }
  for_vectors(width - c, [=](int64_t i, int64_t count) {
    Floats total = kAdds ? load_up_to(y + c + i, count) : splat(0.0f);
    const float* row = a + c + i;
    for (int64_t r = 0; r < rows; ++r, row += stride) total = total + load_up_to(row, count);
    store_up_to(y + c + i, total, count);
  });
}

void adamw(float* p, float* m, float* v, const float* grad, int64_t n,
           const AdamwConstants& constants) {
  const Floats beta1 = splat(constants.beta1), beta2 = splat(constants.beta2);
  const Floats rest1 = splat(constants.rest1), rest2 = splat(constants.rest2);
  const Floats correction1 = splat(constants.correction1);
  const Floats correction2 = splat(constants.correction2);
  const Floats epsilon = splat(constants.epsilon), decay = splat(constants.weight_decay);
  const Floats rate = splat(constants.learning_rate), by = splat(constants.grad_scale);
  for_vectors(n, [=](int64_t i, int64_t count) {
    const Floats g = by * load_up_to(grad + i, count);
    const Floats m1 = beta1 * load_up_to(m + i, count) + rest1 * g;
    const Floats v1 = beta2 * load_up_to(v + i, count) + rest2 * (g * g);
    const Floats old = load_up_to(p + i, count);
    const Floats step = (m1 / correction1) / (root(v1 / correction2) + epsilon);
    store_up_to(m + i, m1, count);
    store_up_to(v + i, v1, count);
    store_up_to(p + i, old - rate * (step + decay * old), count);
  });
}

}  // namespace

void fill_reduce(VectorKernels& table) {
  table.sum = sum;
  table.sum_squares = sum_squares;
  table.max = max;
  table.dot = dot;
  table.add_to = add_to;
  table.scale = scale;
  table.sum_rows = rows_sum<false>;
  table.add_rows = rows_sum<true>;
  table.adamw = adamw;
}

}  // namespace levanter::cpu::LEVANTER_ISA

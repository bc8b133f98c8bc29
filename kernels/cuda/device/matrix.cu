// Factors of matrices: Householder's reflections, Jacobi's rotations.
#include "kernels/cuda/device/math.cuh"

namespace levanter::cuda::kernels {

inline float add_two(float x, float y) { return x + y; }

/// y -= factor v (v.y), of elements from `from` on; a thread has the same elements every time.
inline void reflect(float* shared, const float* v, float* y, int64_t from, int64_t rows,
                    float factor) {
  const int64_t start = from / kThreads * kThreads + threadIdx.x;
  float mine = 0;
  for (int64_t i = start; i < rows; i += kThreads)
    if (i >= from) mine += v[i] * y[i];
  const float product = factor * combine_block(shared, mine, add_two);
  for (int64_t i = start; i < rows; i += kThreads)
    if (i >= from) y[i] -= product * v[i];
}

/// The reflection of column j from element j on: x becomes v, v[j] = 1. Returns its factor.
inline float make_reflection(const QrArguments& a, float* shared, float* x, int64_t j) {
  const int64_t start = j / kThreads * kThreads + threadIdx.x;
  float largest = 0;
  for (int64_t i = start; i < a.rows; i += kThreads)
    if (i >= j && largest < absolute(x[i])) largest = absolute(x[i]);
  largest = combine_block(shared, largest, [](float p, float q) { return p < q ? q : p; });
  float squares = 0;
  for (int64_t i = start; i < a.rows; i += kThreads)
    if (i >= j && largest > 0) squares += x[i] / largest * (x[i] / largest);
  squares = combine_block(shared, squares, add_two);
  const float first = x[j], length = largest * sqrtf(squares);
  const float r = first > 0 ? -length : length;
  __syncthreads();  // before x[j] changes
  for (int64_t i = start; i < a.rows; i += kThreads) {
    if (i == j) x[i] = 1;
    if (i > j) x[i] = length > 0 ? x[i] / (first - r) : 0.0f;
  }
  if (threadIdx.x == 0) a.signs[int64_t(blockIdx.x) * a.columns + j] = r < 0 ? -1.0f : 1.0f;
  return length > 0 ? (r - first) / r : 0.0f;
}

/// A block a matrix: the reflections of a block of columns.
LEV_KERNEL(qr_panel, QrArguments) {
  LEV_SHARED(float, shared, kThreads);
  float* const x = a.vectors + int64_t(blockIdx.x) * a.rows * a.columns;
  for (int64_t j = a.first; j < a.first + a.count; ++j) {
    const float factor = make_reflection(a, shared, x + j * a.rows, j);
    if (threadIdx.x == 0) a.factors[int64_t(blockIdx.x) * a.columns + j] = factor;
    for (int64_t c = j + 1; c < a.first + a.count; ++c)
      reflect(shared, x + j * a.rows, x + c * a.rows, j, a.rows, factor);
    __syncthreads();  // a column's elements move to other threads
  }
}

/// A block a column of a matrix.
LEV_KERNEL(qr_apply, QrArguments) {
  LEV_SHARED(float, shared, kThreads);
  const int64_t matrix = blockIdx.x / (a.columns - a.begin);
  const int64_t column = a.begin + blockIdx.x % (a.columns - a.begin);
  const float* const v = a.vectors + matrix * a.rows * a.columns;
  float* const y = a.to + (matrix * a.columns + column) * a.rows;
  for (int64_t step = 0; step < a.count; ++step) {
    const int64_t j = a.first + (a.reversed ? a.count - 1 - step : step);
    reflect(shared, v + j * a.rows, y, j, a.rows, a.factors[matrix * a.columns + j]);
  }
}

/// Columns of the identity, with the signs of R's diagonal.
LEV_KERNEL(qr_begin, QrArguments) {
  const int64_t elements = a.rows * a.columns;
  for (int64_t i = first_index(); i < a.count * elements; i += index_step()) {
    const int64_t column = i % elements / a.rows;
    a.to[i] = i % a.rows == column ? a.signs[i / elements * a.columns + column] : 0.0f;
  }
}

/// Cosine and sine of the rotation of rows p < q that makes a[p, q] zero; 1 and 0 where it is.
struct Turn {
  float c, s;
};
inline Turn turn_of(float pp, float qq, float pq, float negligible) {
  if (absolute(pq) <= negligible) return {1.0f, 0.0f};
  const float theta = (qq - pp) / (2.0f * pq);
  const float tangent = with_sign(1.0f / (absolute(theta) + sqrtf(theta * theta + 1.0f)), theta);
  const float c = 1.0f / sqrtf(tangent * tangent + 1.0f);
  return {c, tangent * c};
}
inline void turn_two(float& x, float& y, const Turn& turn) {
  const float before = x;
  x = turn.c * before - turn.s * y;
  y = turn.s * before + turn.c * y;
}

/// The `pair`-th pair of round `round`, in which each of an even number of players meets one.
struct Players {
  int64_t p, q;
};
inline Players players_of(int64_t pair, int64_t round, int64_t players) {
  const int64_t others = players - 1;
  const int64_t x = (round + pair) % others;
  const int64_t y = pair == 0 ? others : (round + others - pair) % others;
  return x < y ? Players{x, y} : Players{y, x};
}

constexpr int kMostSweeps = 30;

/// One round of rotations of disjoint pairs; whether one was not nothing.
inline bool turn_round(const EighArguments& m, int* turned, float* a, float* v, float* turns,
                       int64_t round, float negligible) {
  const int64_t n = m.n, players = n + n % 2, pairs = players / 2;
  if (threadIdx.x == 0) *turned = 0;
  __syncthreads();
  for (int64_t i = threadIdx.x; i < pairs; i += kThreads) {
    const Players at = players_of(i, round, players);
    Turn turn = {1.0f, 0.0f};
    if (at.q < n)
      turn = turn_of(a[at.p * n + at.p], a[at.q * n + at.q], a[at.p * n + at.q], negligible);
    if (turn.s != 0) *turned = 1;
    turns[2 * i] = turn.c;
    turns[2 * i + 1] = turn.s;
  }
  __syncthreads();
  const bool any = *turned != 0;
  if (!any) {
    __syncthreads();
    return false;
  }
  for (int64_t i = threadIdx.x; i < pairs * n; i += kThreads) {
    const Players at = players_of(i / n, round, players);
    const Turn turn = {turns[i / n * 2], turns[i / n * 2 + 1]};
    if (at.q >= n || turn.s == 0) continue;
    turn_two(a[at.p * n + i % n], a[at.q * n + i % n], turn);
    turn_two(v[at.p * n + i % n], v[at.q * n + i % n], turn);
  }
  __syncthreads();
  for (int64_t i = threadIdx.x; i < pairs * n; i += kThreads) {
    const Players at = players_of(i % pairs, round, players);
    const Turn turn = {turns[i % pairs * 2], turns[i % pairs * 2 + 1]};
    if (at.q >= n || turn.s == 0) continue;
    float* const row = a + i / pairs * n;
    turn_two(row[at.p], row[at.q], turn);
    if (i / pairs == at.p) row[at.q] = 0;
    if (i / pairs == at.q) row[at.p] = 0;
  }
  __syncthreads();
  return true;
}

/// A block a matrix; of `a` the elements on and below the diagonal count.
LEV_KERNEL(eigh, EighArguments) {
  LEV_SHARED(float, shared, kThreads);
  LEV_SHARED(int, turned, 1);
  const int64_t n = a.n, matrix = blockIdx.x;
  float *const x = a.a + matrix * n * n, *const v = a.v + matrix * n * n;
  float largest = 0;
  for (int64_t i = threadIdx.x; i < n * n; i += kThreads) {
    const int64_t row = i / n, column = i % n;
    v[i] = row == column ? 1.0f : 0.0f;
    if (row < column) continue;
    const float magnitude = absolute(x[i]);
    if (!(magnitude <= largest)) largest = magnitude < infinity() ? magnitude : infinity();
    x[column * n + row] = x[i];
  }
  largest = combine_block(shared, largest, [](float p, float q) { return p < q ? q : p; });
  const float negligible = 1e-9f * largest;
  bool going = largest < infinity();
  for (int sweep = 0; going && sweep < kMostSweeps; ++sweep) {
    going = false;
    for (int64_t round = 0; round < n + n % 2 - 1; ++round)
      going |= turn_round(a, turned, x, v, a.turns + matrix * (n + 1), round, negligible);
  }
  for (int64_t j = threadIdx.x; j < n; j += kThreads) {
    const float value = x[j * n + j];
    int64_t place = 0;
    for (int64_t k = 0; k < n; ++k) {
      const float other = x[k * n + k];
      place += value < other || (value == other && k < j);
    }
    float first = 0;  // of the largest magnitude
    for (int64_t i = 0; i < n; ++i)
      if (absolute(first) < absolute(v[j * n + i])) first = v[j * n + i];
    const bool finite = largest < infinity();
    if (!finite) place = j;
    a.values[matrix * n + place] = finite ? value : not_a_number();
    for (int64_t i = 0; i < n; ++i)
      a.vectors[(matrix * n + place) * n + i] =
          finite ? (first < 0 ? -v[j * n + i] : v[j * n + i]) : not_a_number();
  }
}

}  // namespace levanter::cuda::kernels

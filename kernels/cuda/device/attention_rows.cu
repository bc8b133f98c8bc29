// Row by row of attention, a warp each: delta, which its gradients need, the results of pieces of
// the keys joined, and statistics.
#include "kernels/cuda/device/attention.cuh"

namespace levanter::cuda::kernels {

/// The query of a warp.
struct QueryRow {
  AttentionHead head;
  int64_t query;
};
/// x / y, by 32 bits where these are enough: the other division is a long subroutine.
inline int64_t whole_quotient(int64_t x, int y) {
  return (x >> 32) == 0 ? int64_t(uint32_t(x) / uint32_t(y)) : x / y;
}
inline QueryRow query_row(const AttentionArguments& a, int64_t index) {
  const int heads = a.heads * a.groups;
  const int64_t row = whole_quotient(index, a.queries), batch = whole_quotient(row, heads);
  const int head = int(row - batch * heads);
  return {{int(batch), head / a.groups, head % a.groups}, index - row * a.queries};
}
inline int64_t row_index() { return int64_t(blockIdx.x) * (kThreads / 32) + warp_number(); }
inline int64_t row_count(const AttentionArguments& a) {
  return int64_t(a.batch) * a.heads * a.groups * a.queries;
}
inline int64_t offset_of(const AttentionArray& array, const QueryRow& row) {
  return offset_of(array, row.head) + row.query * array.position;
}

/// A lane's part of delta, of rows that are whole pieces of 16 bytes: two elements at a time.
inline float sum_of_pairs(const AttentionArguments& a, int64_t o, int64_t d_o) {
  using Two = Pair<uint16_t>;
  const auto* const left = reinterpret_cast<const Two*>(static_cast<const uint16_t*>(a.o.data) + o);
  const auto* const right =
      reinterpret_cast<const Two*>(static_cast<const uint16_t*>(a.d_o.data) + d_o);
  float sum = 0;
  for (int pair = lane_number(); pair < a.head_dim / 2; pair += 32) {
    const Two x = left[pair], y = right[pair];
    LEV_UNROLLED for (int i = 0; i < 2; ++i) sum = fmaf(widen(x.at[i]), widen(y.at[i]), sum);
  }
  return sum;
}
inline void store_delta(const AttentionArguments& a, const QueryRow& row, float sum) {
  sum = combine_warp(sum, [](float x, float y) { return x + y; });
  if (lane_number() == 0) static_cast<float*>(a.delta.data)[offset_of(a.delta, row)] = sum;
}

/// delta = sum over head_dim of o do
LEV_KERNEL(attention_delta, AttentionArguments) {
  if (row_index() >= row_count(a)) return;
  const QueryRow row = query_row(a, row_index());
  const int64_t o = offset_of(a.o, row), d_o = offset_of(a.d_o, row);
  float sum = 0;
  if (a.element == Element::kBf16 && a.o.in_chunks && a.d_o.in_chunks)
    return store_delta(a, row, sum_of_pairs(a, o, d_o));
  for (int d = lane_number(); d < a.head_dim; d += 32)
    sum = fmaf(load_real(a.o.data, a.element, o + d * a.o.dim),
               load_real(a.d_o.data, a.element, d_o + d * a.d_o.dim), sum);
  store_delta(a, row, sum);
}

/// The pieces in their order, each scaled to the largest score of all.
LEV_KERNEL(attention_join, AttentionArguments) {
  if (row_index() >= row_count(a)) return;
  const QueryRow row = query_row(a, row_index());
  const float* const norms =
      static_cast<const float*>(a.piece_norms.data) + offset_of(a.piece_norms, row);
  const float* const sums =
      static_cast<const float*>(a.piece_sums.data) + offset_of(a.piece_sums, row);
  float largest = -infinity(), total = 0;
  for (int i = 0; i < a.pieces; ++i) {
    const float x = norms[i * a.piece_norms_stride];
    largest = largest < x ? x : largest;
  }
  const auto factor = [&](int i) {
    const float x = norms[i * a.piece_norms_stride];
    return x == -infinity() ? 0.0f : exp_negative(x - largest);
  };
  for (int i = 0; i < a.pieces; ++i) total += factor(i) * norms[i * a.piece_norms_stride + 1];
  for (int d = lane_number(); d < a.head_dim; d += 32) {
    float sum = 0;
    for (int i = 0; i < a.pieces; ++i)
      sum = fmaf(factor(i), sums[i * a.piece_sums_stride + d], sum);
    store_real(a.o.data, a.element, offset_of(a.o, row) + d * a.o.dim, sum * norm_of(a, total));
  }
  if (lane_number() == 0)
    static_cast<float*>(a.lse.data)[offset_of(a.lse, row)] = log_sum(largest, total);
}

/// Of some keys: m, the largest of their scores x, and the sums of e^(x - m) and (x - m) e^(x - m).
struct Scores {
  float largest, total, sum;
};
inline Scores joined(const Scores& a, const Scores& b) {
  if (a.total == 0) return b;
  if (b.total == 0) return a;
  const float largest = a.largest < b.largest ? b.largest : a.largest;
  const float down = a.largest - largest, other = b.largest - largest;
  const float factor = exp_negative(down), by = exp_negative(other);
  return {largest, factor * a.total + by * b.total,
          factor * (a.sum + down * a.total) + by * (b.sum + other * b.total)};
}
inline float score_of(const AttentionArguments& a, int64_t q, int64_t k) {
  float product = 0;
  for (int d = 0; d < a.head_dim; ++d)
    product = fmaf(load_real(a.q.data, a.element, q + d * a.q.dim),
                   load_real(a.k.data, a.element, k + d * a.k.dim), product);
  const float x = product * a.score_factor;
  return a.soft_cap > 0 ? a.soft_cap * tanh_apart(x) : x;
}
inline int segment_of(const AttentionArguments& a, int batch, int64_t position) {
  return a.segments ? a.segments[batch * a.segments_batch + position * a.segments_position] : 0;
}

/// Of the keys that a query sees each lane takes every 32nd.
LEV_KERNEL(attention_statistics, AttentionArguments) {
  if (row_index() >= row_count(a)) return;
  const QueryRow row = query_row(a, row_index());
  const int64_t q = offset_of(a.q, row), k = offset_of(a.k, {row.head, 0});
  const Span span = keys_of(a, int(row.query), 1);
  const int own = segment_of(a, row.head.batch, row.query);
  Scores seen = {-infinity(), 0, 0};
  for (int key = span.begin + lane_number(); key < span.end; key += 32)
    if (segment_of(a, row.head.batch, key) == own)
      seen = joined(seen, {score_of(a, q, k + key * a.k.position), 1, 0});
  LEV_UNROLLED for (int apart = 16; apart > 0; apart /= 2) {
    const Scores other = {__shfl_xor_sync(kAllLanes, seen.largest, apart),
                          __shfl_xor_sync(kAllLanes, seen.total, apart),
                          __shfl_xor_sync(kAllLanes, seen.sum, apart)};
    seen = joined(seen, other);
  }
  if (lane_number() != 0) return;
  static_cast<float*>(a.entropy.data)[offset_of(a.entropy, row)] =
      log_real(seen.total) - seen.sum / seen.total;
  static_cast<float*>(a.largest.data)[offset_of(a.largest, row)] = seen.largest;
}

}  // namespace levanter::cuda::kernels

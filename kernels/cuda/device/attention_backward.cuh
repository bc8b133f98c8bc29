// The gradients of attention without atomics: a kernel whose blocks own keys makes dk and dv, one
// whose blocks own queries makes dq. Both compute the probabilities again from the log-sum-exp, as
// in Dao et al. 2022, arXiv:2205.14135.
#pragma once

#include "kernels/cuda/device/attention.cuh"

namespace levanter::cuda::kernels {

/// The log-sum-exp of a row, infinity for one without keys or from `limit` on: its probabilities
/// are 0.
inline float lse_of(const AttentionArguments& a, const AttentionHead& head, int query) {
  if (query >= a.queries) return infinity();
  const float lse = row_numbers(a.lse, head)[query * a.lse.position];
  return lse == -infinity() ? infinity() : lse;
}
inline float delta_of(const AttentionArguments& a, const AttentionHead& head, int query) {
  return query < a.queries ? row_numbers(a.delta, head)[query * a.delta.position] : 0.0f;
}

/// From products q.k in s to probabilities after dropout, but for its factor; from products do.v in
/// dp to the gradients of products q.k, but for scale. lse(n, i) and delta(n, i) are an element's.
template <int kPieces, class Lse, class Delta>
__forceinline__ void differentiate(const AttentionArguments& a, float (&s)[kPieces][4],
                                   float (&dp)[kPieces][4], uint32_t seen, uint32_t kept, Lse lse,
                                   Delta delta) {
  make_scores(a, s);
  LEV_UNROLLED for (int n = 0; n < kPieces; ++n) LEV_UNROLLED for (int i = 0; i < 4; ++i) dp[n][i] =
      (has_element(kept, n, i) ? a.kept_factor * dp[n][i] : 0.0f) - delta(n, i);
  if (a.soft_cap > 0)
    LEV_UNROLLED for (int n = 0; n < kPieces; ++n) LEV_UNROLLED for (int i = 0; i < 4; ++i) {
      const float bent = s[n][i] / a.soft_cap;
      dp[n][i] *= 1.0f - bent * bent;
    }
  LEV_UNROLLED for (int n = 0; n < kPieces; ++n) LEV_UNROLLED for (int i = 0; i < 4; ++i) {
    const float p = has_element(seen, n, i) ? exp_negative(s[n][i] - lse(n, i)) : 0.0f;
    s[n][i] = has_element(kept, n, i) ? p : 0.0f;
    // Where p is 1 no other key counts, and the difference is nothing but rounding.
    dp[n][i] = p == 1.0f ? 0.0f : p * dp[n][i];
  }
}

/// A block owns keys of a key head and goes through the queries of its group, head by head.
template <class Element, int kDepth>
__forceinline__ void attention_keys(const AttentionArguments& a) {
  constexpr AttentionTiles kTiles = attention_tiles(AttentionPass::kKeys, kDepth, sizeof(Element));
  constexpr int kOwn = kTiles.own, kStream = kTiles.stream, kPitch = kTiles.pitch;
  constexpr int kColumns = kDepth / kTiles.parts, kWarps = kOwn / 16;
  LEV_DYNAMIC_SHARED(shared);
  Element* const keys = reinterpret_cast<Element*>(shared);
  Element *const values = keys + kOwn * kPitch, *const queries = values + kOwn * kPitch;
  Element* const d_o = queries + kStream * kPitch;
  float *const lse = reinterpret_cast<float*>(d_o + kStream * kPitch), *const delta = lse + kStream;
  int32_t* const key_ids = reinterpret_cast<int32_t*>(delta + kStream);
  int32_t* const query_ids = key_ids + kOwn;

  // The first keys, which the most queries may see, go first.
  const int all_heads = a.batch * a.heads, place = int(blockIdx.x) % all_heads;
  const int first = int(blockIdx.x) / all_heads * kOwn;
  const int warp_row = warp_number() % kWarps * 16, own = first + warp_row;
  const int first_column = warp_number() / kWarps * kColumns;
  AttentionHead head = {place / a.heads, place % a.heads, 0};
  load_rows<Element, kDepth, kOwn>(keys, a.k, head, first, a.keys, a.head_dim);
  load_rows<Element, kDepth, kOwn>(values, a.v, head, first, a.keys, a.head_dim);
  Range own_ids = {0, 0};
  if (a.segments) {
    load_ids<kOwn>(key_ids, a, head.batch, first, a.keys);
    own_ids = ids_of_rows<kOwn>(a, head.batch, first, a.keys);
  }
  float dk[kColumns / 8][4] = {}, dv[kColumns / 8][4] = {};
  const Span span = queries_of(a, first, kOwn);
  const int steps_begin = span.begin / kStream * kStream;
  LEV_ROLLED for (head.group = 0; head.group < a.groups; ++head.group)
      LEV_ROLLED for (int begin = steps_begin; begin < span.end; begin += kStream) {
    Counted counted = counted_pairs<kStream, kOwn>(a, begin, first);
    if (a.segments) {
      const Counted by_id =
          counted_ids(own_ids, ids_of_rows<kStream>(a, head.batch, begin, a.queries));
      if (by_id == Counted::kNone) continue;
      if (by_id == Counted::kSome) counted = by_id;
    }
    __syncthreads();
    load_rows<Element, kDepth, kStream>(queries, a.q, head, begin, a.queries, a.head_dim);
    load_rows<Element, kDepth, kStream>(d_o, a.d_o, head, begin, a.queries, a.head_dim);
    for (int i = int(threadIdx.x); i < kStream; i += int(blockDim.x)) {
      lse[i] = lse_of(a, head, begin + i);
      delta[i] = delta_of(a, head, begin + i);
    }
    if (a.segments) load_ids<kStream>(query_ids, a, head.batch, begin, a.queries);
    __syncthreads();
    uint32_t seen = ~uint32_t(0), kept = seen;
    if (counted == Counted::kSome)
      seen = elements_where<kStream>([&](int row, int column) {
        return is_seen(a, begin + column, own + row) &&
               (!a.segments || key_ids[warp_row + row] == query_ids[column]);
      });
    if (a.dropout_keys) {
      const Dropout dropout = dropout_of(a, head);
      kept = elements_where<kStream>(
          [&](int row, int column) { return dropout.keeps(a, begin + column, own + row); });
    }
    float s[kStream / 8][4], dp[kStream / 8][4];
    multiply_turned<kDepth, kStream>(s, keys + warp_row * kPitch, queries);
    multiply_turned<kDepth, kStream>(dp, values + warp_row * kPitch, d_o);
    const auto of_column = [](const float* numbers, int n, int i) {
      return numbers[n * 8 + column_of_element(i)];
    };
    differentiate(
        a, s, dp, seen, kept, [&](int n, int i) { return of_column(lse, n, i); },
        [&](int n, int i) { return of_column(delta, n, i); });
    multiply_add<kPitch, kStream, kColumns>(dv, s, d_o + first_column);
    multiply_add<kPitch, kStream, kColumns>(dk, dp, queries + first_column);
  }
  head.group = 0;
  store_rows<Element, kColumns>(a.dk, head, own, a.keys, first_column, a.head_dim, dk, a.scale,
                                a.scale);
  store_rows<Element, kColumns>(a.dv, head, own, a.keys, first_column, a.head_dim, dv,
                                a.kept_factor, a.kept_factor);
}

/// A block owns queries of a head and goes through the keys that they see.
template <class Element, int kDepth>
__forceinline__ void attention_queries(const AttentionArguments& a) {
  constexpr AttentionTiles kTiles =
      attention_tiles(AttentionPass::kQueries, kDepth, sizeof(Element));
  constexpr int kOwn = kTiles.own, kStream = kTiles.stream, kPitch = kTiles.pitch;
  LEV_DYNAMIC_SHARED(shared);
  Element* const queries = reinterpret_cast<Element*>(shared);
  Element *const d_o = queries + kOwn * kPitch, *const keys = d_o + kOwn * kPitch;
  Element* const values = keys + kStream * kPitch;
  int32_t* const query_ids = reinterpret_cast<int32_t*>(values + kStream * kPitch);
  int32_t* const key_ids = query_ids + kOwn;

  const int heads = a.heads * a.groups, all_heads = a.batch * heads;
  const int tile = int(blockIdx.x) / all_heads, place = int(blockIdx.x) % all_heads;
  const int first = (int(gridDim.x) / all_heads - 1 - tile) * kOwn;
  const int warp_row = warp_number() * 16, own = first + warp_row;
  const AttentionHead head = {place / heads, place % heads / a.groups, place % a.groups};
  load_rows<Element, kDepth, kOwn>(queries, a.q, head, first, a.queries, a.head_dim);
  load_rows<Element, kDepth, kOwn>(d_o, a.d_o, head, first, a.queries, a.head_dim);
  float lse[2], delta[2];
  LEV_UNROLLED for (int row = 0; row < 2; ++row) {
    lse[row] = lse_of(a, head, own + row_of_element(2 * row));
    delta[row] = delta_of(a, head, own + row_of_element(2 * row));
  }
  Range own_ids = {0, 0};
  if (a.segments) {
    load_ids<kOwn>(query_ids, a, head.batch, first, a.queries);
    own_ids = ids_of_rows<kOwn>(a, head.batch, first, a.queries);
  }
  float dq[kDepth / 8][4] = {};
  const Span span = keys_of(a, first, kOwn);
  LEV_ROLLED for (int begin = span.begin / kStream * kStream; begin < span.end; begin += kStream) {
    Counted counted = counted_pairs<kOwn, kStream>(a, first, begin);
    if (a.segments) {
      const Counted by_id =
          counted_ids(own_ids, ids_of_rows<kStream>(a, head.batch, begin, a.keys));
      if (by_id == Counted::kNone) continue;
      if (by_id == Counted::kSome) counted = by_id;
    }
    __syncthreads();
    load_rows<Element, kDepth, kStream>(keys, a.k, head, begin, a.keys, a.head_dim);
    load_rows<Element, kDepth, kStream>(values, a.v, head, begin, a.keys, a.head_dim);
    if (a.segments) load_ids<kStream>(key_ids, a, head.batch, begin, a.keys);
    __syncthreads();
    uint32_t seen = ~uint32_t(0), kept = seen;
    if (counted == Counted::kSome)
      seen = elements_where<kStream>([&](int row, int column) {
        return is_seen(a, own + row, begin + column) &&
               (!a.segments || query_ids[warp_row + row] == key_ids[column]);
      });
    if (a.dropout_keys) {
      const Dropout dropout = dropout_of(a, head);
      kept = elements_where<kStream>(
          [&](int row, int column) { return dropout.keeps(a, own + row, begin + column); });
    }
    float s[kStream / 8][4], dp[kStream / 8][4];
    multiply_turned<kDepth, kStream>(s, queries + warp_row * kPitch, keys);
    multiply_turned<kDepth, kStream>(dp, d_o + warp_row * kPitch, values);
    differentiate(
        a, s, dp, seen, kept, [&](int, int i) { return lse[i / 2]; },
        [&](int, int i) { return delta[i / 2]; });
    multiply_add<kPitch, kStream, kDepth>(dq, dp, keys);
  }
  store_rows<Element, kDepth>(a.dq, head, own, a.queries, 0, a.head_dim, dq, a.scale, a.scale);
}

}  // namespace levanter::cuda::kernels

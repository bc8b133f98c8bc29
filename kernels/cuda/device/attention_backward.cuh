// The gradients of attention without atomics: a kernel whose blocks own keys makes dk and dv, one
// whose blocks own queries makes dq. Both compute the probabilities again from the log-sum-exp, as
// in Dao et al. 2022, arXiv:2205.14135.
#pragma once

#include "kernels/cuda/device/attention.cuh"

namespace levanter::cuda::kernels {

/// The log-sum-exp of a row, in units of Exponential: infinity for one without keys or from `limit`
/// on, whose probabilities are 0.
template <class Element>
inline float lse_of(const AttentionArguments& a, const AttentionHead& head, int query) {
  if (query >= a.queries) return infinity();
  const float lse = row_numbers(a.lse, head)[query * a.lse.position];
  return lse == -infinity() ? infinity() : lse * Exponential<Element>::kUnit;
}
inline float delta_of(const AttentionArguments& a, const AttentionHead& head, int query) {
  return query < a.queries ? row_numbers(a.delta, head)[query * a.delta.position] : 0.0f;
}

struct PlacedPair {
  int query, key;
};
/// Bits of elements_where.
struct PairBits {
  uint32_t seen, kept;
};
/// Which pairs of a tile are seen and which dropout keeps. pair(row, column) is an element's;
/// row_ids and column_ids are of the warp's rows and of the columns.
template <int kColumns, class Pair>
__forceinline__ PairBits bits_of_pairs(const AttentionArguments& a, const AttentionHead& head,
                                       Counted counted, const int32_t* row_ids,
                                       const int32_t* column_ids, Pair pair) {
  PairBits bits = {~uint32_t(0), ~uint32_t(0)};
  if (counted == Counted::kSome)
    bits.seen = elements_where<kColumns>([&](int row, int column) {
      const PlacedPair p = pair(row, column);
      return is_seen(a, p.query, p.key) && (!a.segments || row_ids[row] == column_ids[column]);
    });
  if (!a.dropout_keys) return bits;
  const Dropout dropout = dropout_of(a, head);
  bits.kept = elements_where<kColumns>([&](int row, int column) {
    const PlacedPair p = pair(row, column);
    return dropout.keeps(a, p.query, p.key);
  });
  return bits;
}

/// From products q.k in s to probabilities after dropout, but for its factor; from products do.v in
/// dp to the gradients of products q.k, but for scale. lse(n, i) and delta(n, i) are an element's.
template <class Element, int kPieces, class Lse, class Delta>
__forceinline__ void differentiate(const AttentionArguments& a, float (&s)[kPieces][4],
                                   float (&dp)[kPieces][4], const PairBits& bits, Lse lse,
                                   Delta delta) {
  if (a.dropout_keys)
    for_elements<kPieces>([&](int n, int i) {
      dp[n][i] = has_element(bits.kept, n, i) ? a.kept_factor * dp[n][i] : 0.0f;
    });
  for_elements<kPieces>([&](int n, int i) { dp[n][i] -= delta(n, i); });
  float factor = a.score_factor * Exponential<Element>::kUnit;
  if (a.soft_cap > 0) {
    factor = Exponential<Element>::kUnit;
    make_scores(a, s);
    for_elements<kPieces>([&](int n, int i) {
      const float bent = s[n][i] / a.soft_cap;
      dp[n][i] *= 1.0f - bent * bent;
    });
  }
  for_elements<kPieces>([&](int n, int i) {
    bool alone = false;
    const float all = Exponential<Element>::probability(s[n][i], factor, lse(n, i), alone);
    const float p = has_element(bits.seen, n, i) ? all : 0.0f;
    s[n][i] = p;
    // Where no other key counts, the difference is nothing but rounding.
    dp[n][i] = alone ? 0.0f : p * dp[n][i];
  });
  if (a.dropout_keys)
    for_elements<kPieces>([&](int n, int i) {
      if (!has_element(bits.kept, n, i)) s[n][i] = 0;
    });
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

  // Of a head the first keys, which the most queries may see, go first.
  const int tiles = int(gridDim.x) / (a.batch * a.heads), place = int(blockIdx.x) / tiles;
  const int first = int(blockIdx.x) % tiles * kOwn;
  const int warp_row = warp_number() % kWarps * 16, own = first + warp_row;
  const int first_column = warp_number() / kWarps * kColumns;
  AttentionHead head = {place / a.heads, place % a.heads, 0};
  load_rows<Element, kDepth, kOwn>(keys, a.k, head, first, a.keys, a.head_dim);
  load_rows<Element, kDepth, kOwn>(values, a.v, head, first, a.keys, a.head_dim);
  load_ids<kOwn>(key_ids, a, head.batch, first, a.keys);
  const Range own_ids = ids_of_rows<kOwn>(a, head.batch, first, a.keys);
  float dk[kColumns / 8][4] = {}, dv[kColumns / 8][4] = {};
  const Span span = queries_of(a, first, kOwn);
  for (head.group = 0; head.group < a.groups; ++head.group)
    for (int begin = span.begin / kStream * kStream; begin < span.end; begin += kStream) {
      const Counted counted = counted_ids<kStream>(a, counted_pairs<kStream, kOwn>(a, begin, first),
                                                   own_ids, head.batch, begin, a.queries);
      if (counted == Counted::kNone) continue;
      __syncthreads();
      load_rows<Element, kDepth, kStream>(queries, a.q, head, begin, a.queries, a.head_dim);
      load_rows<Element, kDepth, kStream>(d_o, a.d_o, head, begin, a.queries, a.head_dim);
      for (int i = int(threadIdx.x); i < kStream; i += int(blockDim.x)) {
        lse[i] = lse_of<Element>(a, head, begin + i);
        delta[i] = delta_of(a, head, begin + i);
      }
      load_ids<kStream>(query_ids, a, head.batch, begin, a.queries);
      __syncthreads();
      const PairBits bits = bits_of_pairs<kStream>(a, head, counted, key_ids + warp_row, query_ids,
                                                   [&](int row, int column) {
                                                     return PlacedPair{begin + column, own + row};
                                                   });
      float s[kStream / 8][4], dp[kStream / 8][4];
      multiply_turned<kDepth, kStream>(s, keys + warp_row * kPitch, queries);
      multiply_turned<kDepth, kStream>(dp, values + warp_row * kPitch, d_o);
      const auto of_column = [](const float* numbers, int n, int i) {
        return numbers[n * 8 + column_of_element(i)];
      };
      differentiate<Element>(
          a, s, dp, bits, [&](int n, int i) { return of_column(lse, n, i); },
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

  const OwnQueries block = own_queries(a, kOwn);
  const AttentionHead head = block.head;
  const int first = block.first, warp_row = warp_number() * 16, own = first + warp_row;
  load_rows<Element, kDepth, kOwn>(queries, a.q, head, first, a.queries, a.head_dim);
  load_rows<Element, kDepth, kOwn>(d_o, a.d_o, head, first, a.queries, a.head_dim);
  float lse[2], delta[2];
  LEV_UNROLLED for (int row = 0; row < 2; ++row) {
    lse[row] = lse_of<Element>(a, head, own + row_of_element(2 * row));
    delta[row] = delta_of(a, head, own + row_of_element(2 * row));
  }
  load_ids<kOwn>(query_ids, a, head.batch, first, a.queries);
  const Range own_ids = ids_of_rows<kOwn>(a, head.batch, first, a.queries);
  float dq[kDepth / 8][4] = {};
  const Span span = keys_of(a, first, kOwn);
  for (int begin = span.begin / kStream * kStream; begin < span.end; begin += kStream) {
    const Counted counted = counted_ids<kStream>(a, counted_pairs<kOwn, kStream>(a, first, begin),
                                                 own_ids, head.batch, begin, a.keys);
    if (counted == Counted::kNone) continue;
    __syncthreads();
    load_rows<Element, kDepth, kStream>(keys, a.k, head, begin, a.keys, a.head_dim);
    load_rows<Element, kDepth, kStream>(values, a.v, head, begin, a.keys, a.head_dim);
    load_ids<kStream>(key_ids, a, head.batch, begin, a.keys);
    __syncthreads();
    const PairBits bits = bits_of_pairs<kStream>(a, head, counted, query_ids + warp_row, key_ids,
                                                 [&](int row, int column) {
                                                   return PlacedPair{own + row, begin + column};
                                                 });
    float s[kStream / 8][4], dp[kStream / 8][4];
    multiply_turned<kDepth, kStream>(s, queries + warp_row * kPitch, keys);
    multiply_turned<kDepth, kStream>(dp, d_o + warp_row * kPitch, values);
    differentiate<Element>(
        a, s, dp, bits, [&](int, int i) { return lse[i / 2]; },
        [&](int, int i) { return delta[i / 2]; });
    multiply_add<kPitch, kStream, kDepth>(dq, dp, keys);
  }
  store_rows<Element, kDepth>(a.dq, head, own, a.queries, 0, a.head_dim, dq, a.scale, a.scale);
}

}  // namespace levanter::cuda::kernels

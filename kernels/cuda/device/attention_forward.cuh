// The forward pass of attention (Vaswani et al. 2017, arXiv:1706.03762) with the running softmax of
// Dao et al. 2022, arXiv:2205.14135: a block owns 64 queries of a head and goes through the keys
// that they see.
#pragma once

#include "kernels/cuda/device/attention.cuh"

namespace levanter::cuda::kernels {

/// The softmax over the keys so far of a lane's two rows.
struct RunningSoftmax {
  float largest[2], total[2];
};

/// The sum or the like over the four lanes that share rows.
template <class Fn>
__forceinline__ float combine_quad(float x, Fn combine) {
  x = combine(x, __shfl_xor_sync(kAllLanes, x, 1));
  return combine(x, __shfl_xor_sync(kAllLanes, x, 2));
}

/// From scores, in units of Exponential and those not `seen` aside, to their exponentials; sums,
/// made with the scores before, are scaled to the new largest.
template <class Element, int kPieces, int kSums>
__forceinline__ void take_scores(RunningSoftmax& r, float (&s)[kPieces][4], float (&sums)[kSums][4],
                                 uint32_t seen) {
  const float lowest = -infinity();
  if (~seen != 0)
    for_elements<kPieces>([&](int n, int i) {
      if (!has_element(seen, n, i)) s[n][i] = lowest;
    });
  LEV_UNROLLED for (int row = 0; row < 2; ++row) {
    float largest = r.largest[row], total = 0;
    for_row_elements<kPieces>(
        row, [&](int n, int i) { largest = largest < s[n][i] ? s[n][i] : largest; });
    largest = combine_quad(largest, [](float x, float y) { return x < y ? y : x; });
    // Without a key all scores are -infinity, and their exponentials shall be 0.
    const float top = largest == lowest ? 0.0f : largest;
    for_row_elements<kPieces>(row, [&](int n, int i) {
      s[n][i] = Exponential<Element>::below(s[n][i], top);
      total += s[n][i];
    });
    total = combine_quad(total, [](float x, float y) { return x + y; });
    const float rest = Exponential<Element>::below(r.largest[row], top);
    r.largest[row] = largest;
    r.total[row] = r.total[row] * rest + total;
    for_row_elements<kSums>(row, [&](int n, int i) { sums[n][i] *= rest; });
  }
}

/// The last key that a query sees, -1 for none.
inline int newest_key(const AttentionArguments& a, int batch, int query) {
  if (query >= a.queries) return -1;
  int newest = query + a.ahead;
  if (a.positions) newest = a.positions[batch * a.positions_batch + query * a.positions_position];
  return newest < a.keys ? newest : a.keys - 1;
}
/// The keys that some of these queries see, of one piece of all keys.
template <int kQueries>
__forceinline__ Span keys_of_piece(const AttentionArguments& a, int batch, int query, int piece) {
  Span span = keys_of(a, query, kQueries);
  if (a.positions) {
    const int end = query + kQueries < a.queries ? query + kQueries : a.queries;
    const Range newest =
        range_of_rows(query, end, [&](int row) { return newest_key(a, batch, row); });
    span = {newest.low < a.window ? 0 : newest.low - a.window + 1, newest.high + 1};
  }
  if (a.pieces > 1) {
    const int first = piece * a.kPieceKeys, end = first + a.kPieceKeys;
    span = {span.begin < first ? first : span.begin, span.end < end ? span.end : end};
  }
  return span;
}

/// What a block found: the result, or that of its piece of the keys.
template <class Element, int kDepth>
__forceinline__ void store_result(const AttentionArguments& a, const AttentionHead& head, int own,
                                  const float (&sums)[kDepth / 8][4], const RunningSoftmax& r) {
  AttentionArray norms = a.piece_norms;
  norms.data = static_cast<float*>(norms.data) + blockIdx.y * a.piece_norms_stride;
  float factors[2];
  LEV_UNROLLED for (int row = 0; row < 2; ++row) {
    const int query = own + row_of_element(2 * row);
    factors[row] = a.pieces > 1 ? 1.0f : norm_of(a, r.total[row]);
    if (lane_number() % 4 != 0 || query >= a.queries) continue;
    if (a.pieces > 1) {
      float* const to = row_numbers(norms, head) + query * norms.position;
      to[0] = r.largest[row];
      to[1] = r.total[row];
    } else {
      row_numbers(a.lse, head)[query * a.lse.position] = log_sum(r.largest[row], r.total[row]);
    }
  }
  if (a.pieces > 1) {
    AttentionArray to = a.piece_sums;
    to.data = static_cast<float*>(to.data) + blockIdx.y * a.piece_sums_stride;
    store_rows<float, kDepth>(to, head, own, a.queries, 0, a.head_dim, sums, 1.0f, 1.0f);
  } else {
    store_rows<Element, kDepth>(a.o, head, own, a.queries, 0, a.head_dim, sums, factors[0],
                                factors[1]);
  }
}

/// A block owns queries of a head and goes through the keys of its piece that they see.
template <class Element, int kDepth>
__forceinline__ void attention_forward(const AttentionArguments& a) {
  constexpr AttentionTiles kTiles =
      attention_tiles(AttentionPass::kForward, kDepth, sizeof(Element));
  constexpr int kOwn = kTiles.own, kStream = kTiles.stream, kPitch = kTiles.pitch;
  LEV_DYNAMIC_SHARED(shared);
  Element* const queries = reinterpret_cast<Element*>(shared);
  Element *const keys = queries + kOwn * kPitch, *const values = keys + kStream * kPitch;
  int32_t* const newest = reinterpret_cast<int32_t*>(values + kStream * kPitch);
  int32_t *const query_ids = newest + kOwn, *const key_ids = query_ids + kOwn;

  const OwnQueries block = own_queries(a, kOwn);
  const AttentionHead head = block.head;
  const int first = block.first, warp_row = warp_number() * 16;
  load_rows<Element, kDepth, kOwn>(queries, a.q, head, first, a.queries, a.head_dim);
  for (int i = int(threadIdx.x); i < kOwn; i += int(blockDim.x))
    newest[i] = newest_key(a, head.batch, first + i);
  load_ids<kOwn>(query_ids, a, head.batch, first, a.queries);
  const Range own_ids = ids_of_rows<kOwn>(a, head.batch, first, a.queries);
  float sums[kDepth / 8][4] = {};
  RunningSoftmax running = {{-infinity(), -infinity()}, {0, 0}};
  const Span span = keys_of_piece<kOwn>(a, head.batch, first, int(blockIdx.y));
  for (int begin = span.begin / kStream * kStream; begin < span.end; begin += kStream) {
    const Counted by_place =
        a.positions ? Counted::kSome : counted_pairs<kOwn, kStream>(a, first, begin);
    const Counted counted = counted_ids<kStream>(a, by_place, own_ids, head.batch, begin, span.end);
    if (counted == Counted::kNone) continue;
    __syncthreads();
    load_rows<Element, kDepth, kStream>(keys, a.k, head, begin, span.end, a.head_dim);
    load_rows<Element, kDepth, kStream>(values, a.v, head, begin, span.end, a.head_dim);
    load_ids<kStream>(key_ids, a, head.batch, begin, span.end);
    __syncthreads();
    float s[kStream / 8][4];
    multiply_turned<kDepth, kStream>(s, queries + warp_row * kPitch, keys);
    make_scores(a, s);
    uint32_t seen = ~uint32_t(0);
    if (counted == Counted::kSome)
      seen = elements_where<kStream>([&](int row, int column) {
        const int last = newest[warp_row + row], key = begin + column;
        return key <= last && key > last - a.window &&
               (!a.segments || query_ids[warp_row + row] == key_ids[column]);
      });
    take_scores<Element>(running, s, sums, seen);
    if (a.dropout_keys) {
      const Dropout dropout = dropout_of(a, head);
      const uint32_t kept = elements_where<kStream>([&](int row, int column) {
        return dropout.keeps(a, first + warp_row + row, begin + column);
      });
      for_elements<kStream / 8>([&](int n, int i) {
        if (!has_element(kept, n, i)) s[n][i] = 0;
      });
    }
    multiply_add<kPitch, kStream, kDepth>(sums, s, values);
  }
  store_result<Element, kDepth>(a, head, first + warp_row, sums, running);
}

}  // namespace levanter::cuda::kernels

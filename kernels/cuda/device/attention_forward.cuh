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

/// From scores, those not `seen` aside, to their exponentials; sums, made with the scores before,
/// are scaled to the new largest.
template <int kPieces, int kSums>
__forceinline__ void take_scores(RunningSoftmax& r, float (&s)[kPieces][4], float (&sums)[kSums][4],
                                 uint32_t seen) {
  const float lowest = -infinity();
  LEV_UNROLLED for (int row = 0; row < 2; ++row) {
    float largest = r.largest[row], total = 0;
    LEV_UNROLLED for (int n = 0; n < kPieces; ++n)
        LEV_UNROLLED for (int i = 2 * row; i < 2 * row + 2; ++i) {
      if (!has_element(seen, n, i)) s[n][i] = lowest;
      largest = largest < s[n][i] ? s[n][i] : largest;
    }
    largest = combine_quad(largest, [](float x, float y) { return x < y ? y : x; });
    // Without a key all scores are -infinity, and their exponentials shall be 0.
    const float top = largest == lowest ? 0.0f : largest;
    LEV_UNROLLED for (int n = 0; n < kPieces; ++n)
        LEV_UNROLLED for (int i = 2 * row; i < 2 * row + 2; ++i) {
      s[n][i] = exp_negative(s[n][i] - top);
      total += s[n][i];
    }
    total = combine_quad(total, [](float x, float y) { return x + y; });
    const float rest = exp_negative(r.largest[row] - top);
    r.largest[row] = largest;
    r.total[row] = r.total[row] * rest + total;
    LEV_UNROLLED for (int n = 0; n < kSums; ++n)
        LEV_UNROLLED for (int i = 2 * row; i < 2 * row + 2; ++i) sums[n][i] *= rest;
  }
}

template <class Element, int kDepth>
__forceinline__ void attention_forward(const AttentionArguments& a) {
  constexpr AttentionTiles kTiles =
      attention_tiles(AttentionPass::kForward, kDepth, sizeof(Element));
  constexpr int kOwn = kTiles.own, kStream = kTiles.stream, kPitch = kTiles.pitch;
  LEV_DYNAMIC_SHARED(shared);
  Element* const queries = reinterpret_cast<Element*>(shared);
  Element *const keys = queries + kOwn * kPitch, *const values = keys + kStream * kPitch;
  int32_t* const query_ids = reinterpret_cast<int32_t*>(values + kStream * kPitch);
  int32_t* const key_ids = query_ids + kOwn;

  // The last queries, which may see the most keys, go first.
  const int heads = a.heads * a.groups, all_heads = a.batch * heads;
  const int tile = int(blockIdx.x) / all_heads, place = int(blockIdx.x) % all_heads;
  const int first = (int(gridDim.x) / all_heads - 1 - tile) * kOwn,
            own = first + warp_number() * 16;
  const AttentionHead head = {place / heads, place % heads / a.groups, place % a.groups};
  load_rows<Element, kDepth, kOwn>(queries, a.q, head, first, a.queries, a.head_dim);
  IdRange own_ids = {0, 0};
  if (a.segments) {
    load_ids<kOwn>(query_ids, a, head.batch, first, a.queries);
    own_ids = ids_of_rows<kOwn>(a, head.batch, first, a.queries);
  }
  float sums[kDepth / 8][4] = {};
  RunningSoftmax running = {{-infinity(), -infinity()}, {0, 0}};
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
    float s[kStream / 8][4];
    multiply_turned<kDepth, kStream>(s, queries + warp_number() * 16 * kPitch, keys);
    make_scores(a, s);
    uint32_t seen = ~uint32_t(0);
    if (counted == Counted::kSome)
      seen = elements_where<kStream>([&](int row, int column) {
        return is_seen(a, own + row, begin + column) &&
               (!a.segments || query_ids[own - first + row] == key_ids[column]);
      });
    take_scores(running, s, sums, seen);
    if (a.dropout_keys) {
      const Dropout dropout = dropout_of(a, head);
      const uint32_t kept = elements_where<kStream>(
          [&](int row, int column) { return dropout.keeps(a, own + row, begin + column); });
      LEV_UNROLLED for (int n = 0; n < kStream / 8; ++n)
          LEV_UNROLLED for (int i = 0; i < 4; ++i) if (!has_element(kept, n, i)) s[n][i] = 0;
    }
    multiply_add<kPitch, kStream, kDepth>(sums, s, values);
  }
  float norms[2];
  LEV_UNROLLED for (int row = 0; row < 2; ++row) {
    const float total = running.total[row];
    norms[row] = total == 0.0f ? 0.0f : 1.0f / (total * a.keep);
    const int query = own + row_of_element(2 * row);
    if (lane_number() % 4 == 0 && query < a.queries)
      row_numbers(a.lse, head)[query * a.lse.position] =
          (running.largest[row] == -infinity() ? 0.0f : running.largest[row]) + log_real(total);
  }
  store_rows<Element, kDepth>(a.o, head, own, a.queries, 0, a.head_dim, sums, norms[0], norms[1]);
}

}  // namespace levanter::cuda::kernels

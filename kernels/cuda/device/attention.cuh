// What the kernels of attention share: rows in shared memory, the products of a warp, and which
// pairs of queries and keys count.
//
// A warp owns 16 rows and makes matrices of 16 rows in pieces of 8 columns, in the layout of d of
// multiply_fragments: a lane has elements 0 and 1 of its upper row, g, and 2 and 3 of its lower
// row, g + 8, at the columns 2 t and 2 t + 1 of each piece.
#pragma once

#include "kernels/cuda/device/math.cuh"
#include "kernels/cuda/device/threefry.cuh"

namespace levanter::cuda::kernels {

constexpr unsigned kAllLanes = 0xffffffffu;

inline int lane_number() { return int(threadIdx.x) % 32; }
inline int warp_number() { return int(threadIdx.x) / 32; }

/// The row of a lane's element i of a piece, and its column in the piece.
inline int row_of_element(int i) { return lane_number() / 4 + (i & 2) * 4; }
inline int column_of_element(int i) { return lane_number() % 4 * 2 + (i & 1); }

/// fn(n, i) for a lane's elements i of pieces n.
template <int kPieces, class Fn>
__forceinline__ void for_elements(Fn fn) {
  LEV_UNROLLED for (int n = 0; n < kPieces; ++n) {
    LEV_UNROLLED for (int i = 0; i < 4; ++i) fn(n, i);
  }
}
/// For those of its upper row, 0, or of its lower row, 1.
template <int kPieces, class Fn>
__forceinline__ void for_row_elements(int row, Fn fn) {
  LEV_UNROLLED for (int n = 0; n < kPieces; ++n) {
    fn(n, 2 * row);
    fn(n, 2 * row + 1);
  }
}

/// The head whose pairs a block takes. `head` is of keys.
struct AttentionHead {
  int batch, head, group;
};
/// Where a block begins that owns queries of a head.
struct OwnQueries {
  AttentionHead head;
  int first;
};
/// Neighbouring blocks take tiles of one head, whose keys stay in the cache; of a head the last
/// queries, which may see the most keys, go first.
inline OwnQueries own_queries(const AttentionArguments& a, int own) {
  const int heads = a.heads * a.groups, tiles = int(gridDim.x) / (a.batch * heads);
  const int tile = tiles - 1 - int(blockIdx.x) % tiles, place = int(blockIdx.x) / tiles;
  return {{place / heads, place % heads / a.groups, place % a.groups}, tile * own};
}
inline int64_t offset_of(const AttentionArray& array, const AttentionHead& h) {
  return h.batch * array.batch + h.head * array.head + h.group * array.group;
}
inline float* row_numbers(const AttentionArray& array, const AttentionHead& h) {
  return static_cast<float*>(array.data) + offset_of(array, h);
}

inline float to_element(float x, float) { return x; }
inline uint16_t to_element(float x, uint16_t) { return narrow(x); }

/// Rows first ... first + kRows - 1 of a head to shared memory: 0 from row `limit` and from column
/// head_dim on.
template <class Element, int kDepth, int kRows>
__forceinline__ void load_rows(Element* to, const AttentionArray& from, const AttentionHead& head,
                               int first, int limit, int head_dim) {
  constexpr int kSize = Chunk<Element>::kElements, kChunks = kDepth / kSize;
  constexpr int kPitch = kDepth + kSize;
  const Element* const rows = static_cast<const Element*>(from.data) + offset_of(from, head);
  LEV_ROLLED for (int i = int(threadIdx.x); i < kRows * kChunks; i += int(blockDim.x)) {
    const int row = i / kChunks, column = i % kChunks * kSize;
    const Element* const at = rows + (first + row) * from.position + column * from.dim;
    const bool inside = first + row < limit;
    Chunk<Element> chunk = {};
    if (from.in_chunks) {
      if (inside && column < head_dim) chunk = *reinterpret_cast<const Chunk<Element>*>(at);
    } else {
      LEV_UNROLLED for (int c = 0; c < kSize; ++c) {
        if (inside && column + c < head_dim) chunk.at[c] = at[c * from.dim];
      }
    }
    *reinterpret_cast<Chunk<Element>*>(to + row * kPitch + column) = chunk;
  }
}

/// The warp's 16 rows of a result, each times its factor, columns first_column and so on.
template <class Element, int kColumns>
__forceinline__ void store_rows(const AttentionArray& to, const AttentionHead& head, int first_row,
                                int limit, int first_column, int head_dim,
                                const float (&sums)[kColumns / 8][4], float upper_factor,
                                float lower_factor) {
  Element* const rows = static_cast<Element*>(to.data) + offset_of(to, head);
  LEV_UNROLLED for (int i = 0; i < 4; i += 2) {
    const int row = first_row + row_of_element(i);
    const float factor = i == 0 ? upper_factor : lower_factor;
    if (row >= limit) continue;
    LEV_UNROLLED for (int n = 0; n < kColumns / 8; ++n) {
      const int column = first_column + n * 8 + column_of_element(0);
      Element* const at = rows + row * to.position + column * to.dim;
      const Pair<Element> pair = {{to_element(sums[n][i] * factor, Element()),
                                   to_element(sums[n][i + 1] * factor, Element())}};
      if (to.in_chunks) {
        if (column < head_dim) *reinterpret_cast<Pair<Element>*>(at) = pair;
      } else {
        if (column < head_dim) at[0] = pair.at[0];
        if (column + 1 < head_dim) at[to.dim] = pair.at[1];
      }
    }
  }
}

/// s = a b^T: 16 rows of a, kRows of b, kDepth elements each, in shared memory.
template <int kDepth, int kRows>
__forceinline__ void multiply_turned(float (&s)[kRows / 8][4], const uint16_t* a,
                                     const uint16_t* b) {
  constexpr int kPitch = kDepth + 8;
  const int lane = lane_number();
  a += lane % 16 * kPitch + lane / 16 * 8;
  b += (lane / 16 * 8 + lane % 8) * kPitch + lane / 8 % 2 * 8;
  for_elements<kRows / 8>([&](int n, int i) { s[n][i] = 0; });
  LEV_UNROLLED for (int k = 0; k < kDepth; k += 16) {
    uint32_t left[4], right[4];
    load_matrices<false>(left, a + k);
    LEV_UNROLLED for (int n = 0; n < kRows / 16; ++n) {
      load_matrices<false>(right, b + n * 16 * kPitch + k);
      multiply_fragments(s[2 * n], left, {right[0], right[1]});
      multiply_fragments(s[2 * n + 1], left, {right[2], right[3]});
    }
  }
}
template <int kDepth, int kRows>
__forceinline__ void multiply_turned(float (&s)[kRows / 8][4], const float* a, const float* b) {
  constexpr int kPitch = kDepth + 4;
  using Four = Chunk<float>;
  a += row_of_element(0) * kPitch;
  b += column_of_element(0) * kPitch;
  for_elements<kRows / 8>([&](int n, int i) { s[n][i] = 0; });
  LEV_ROLLED for (int k = 0; k < kDepth; k += 4) {
    const Four upper = *reinterpret_cast<const Four*>(a + k);
    const Four lower = *reinterpret_cast<const Four*>(a + 8 * kPitch + k);
    for_row_elements<kRows / 8>(0, [&](int n, int i) {
      const Four right = *reinterpret_cast<const Four*>(b + (n * 8 + i) * kPitch + k);
      LEV_UNROLLED for (int c = 0; c < 4; ++c) {
        s[n][i] = fmaf(upper.at[c], right.at[c], s[n][i]);
        s[n][i + 2] = fmaf(lower.at[c], right.at[c], s[n][i + 2]);
      }
    });
  }
}

/// sums += p b: p in the lanes, as multiply_turned leaves it and here rounded to the element type;
/// kRows of b in shared memory, of each kColumns elements.
template <int kPitch, int kRows, int kColumns>
__forceinline__ void multiply_add(float (&sums)[kColumns / 8][4], const float (&p)[kRows / 8][4],
                                  const uint16_t* b) {
  const int lane = lane_number();
  b += lane % 16 * kPitch + lane / 16 * 8;
  LEV_UNROLLED for (int k = 0; k < kRows / 16; ++k) {
    const float(&left)[4] = p[2 * k];
    const float(&right)[4] = p[2 * k + 1];
    const uint32_t rounded[4] = {narrow_two(left[0], left[1]), narrow_two(left[2], left[3]),
                                 narrow_two(right[0], right[1]), narrow_two(right[2], right[3])};
    LEV_UNROLLED for (int n = 0; n < kColumns / 16; ++n) {
      uint32_t words[4];
      load_matrices<true>(words, b + k * 16 * kPitch + n * 16);
      multiply_fragments(sums[2 * n], rounded, {words[0], words[1]});
      multiply_fragments(sums[2 * n + 1], rounded, {words[2], words[3]});
    }
  }
}
template <int kPitch, int kRows, int kColumns>
__forceinline__ void multiply_add(float (&sums)[kColumns / 8][4], const float (&p)[kRows / 8][4],
                                  const float* b) {
  b += column_of_element(0);
  LEV_UNROLLED for (int k = 0; k < kRows; ++k) {
    const unsigned owner = unsigned(lane_number() / 4 * 4 + k % 8 / 2);
    const float upper = __shfl_sync(kAllLanes, p[k / 8][k % 2], owner);
    const float lower = __shfl_sync(kAllLanes, p[k / 8][k % 2 + 2], owner);
    for_row_elements<kColumns / 8>(0, [&](int n, int i) {
      const float right = b[k * kPitch + n * 8 + i];
      sums[n][i] = fmaf(upper, right, sums[n][i]);
      sums[n][i + 2] = fmaf(lower, right, sums[n][i + 2]);
    });
  }
}

/// How exponentials of scores are made. Of f32 as everywhere, in IEEE operations; of bf16, whose
/// probabilities are rounded to 8 bits, as powers of 2 by the card's approximation, a product with
/// log2 e and the difference in one operation.
template <class Element>
struct Exponential;
template <>
struct Exponential<float> {
  static constexpr float kUnit = 1;  ///< of the exponents that probability() takes
  /// e^(x - top)
  static float below(float x, float top) { return exp_negative(x - top); }
  /// e^(factor s - lse), and whether the key is all that the row sees.
  static float probability(float s, float factor, float lse, bool& alone) {
    const float p = exp_negative(s * factor - lse);
    alone = p == 1.0f;
    return p;
  }
};
template <>
struct Exponential<uint16_t> {
  static constexpr float kUnit = 1.4426950408889634f;
  static float below(float x, float top) { return exp2_near(fmaf(x, kUnit, -(top * kUnit))); }
  /// The exponent is 0 but for roundings of lse where the row sees one key.
  static float probability(float s, float factor, float lse, bool& alone) {
    const float x = fmaf(s, factor, -lse);
    alone = -x <= absolute(lse) * 4.76837158e-7f;  // 2^-21
    return exp2_near(x);
  }
};

/// From products q.k to scores.
template <int kPieces>
__forceinline__ void make_scores(const AttentionArguments& a, float (&s)[kPieces][4]) {
  for_elements<kPieces>([&](int n, int i) { s[n][i] *= a.score_factor; });
  if (a.soft_cap > 0)
    for_elements<kPieces>([&](int n, int i) { s[n][i] = a.soft_cap * tanh_apart(s[n][i]); });
}

/// What sums of exponentials times values are multiplied by, and the log-sum-exp: 0 and -infinity
/// where no key is seen.
inline float norm_of(const AttentionArguments& a, float total) {
  return total == 0.0f ? 0.0f : 1.0f / (total * a.keep);
}
inline float log_sum(float largest, float total) {
  return (largest == -infinity() ? 0.0f : largest) + log_real(total);
}

/// The smallest and the largest of some numbers.
struct Range {
  int low, high;
};
/// Of number(row) of rows [first, end), the same in all lanes.
template <class Number>
__forceinline__ Range range_of_rows(int first, int end, Number number) {
  Range range = {0x7fffffff, -0x7fffffff - 1};
  LEV_ROLLED for (int row = first + lane_number(); row < end; row += 32) {
    const int x = number(row);
    range.low = x < range.low ? x : range.low;
    range.high = range.high < x ? x : range.high;
  }
  range.low = combine_warp(range.low, [](int x, int y) { return x < y ? x : y; });
  range.high = combine_warp(range.high, [](int x, int y) { return x < y ? y : x; });
  return range;
}
/// Of the segment ids of rows first ... first + kRows - 1 before `limit`.
template <int kRows>
__forceinline__ Range ids_of_rows(const AttentionArguments& a, int batch, int first, int limit) {
  if (!a.segments) return {0, 0};
  return range_of_rows(first, first + kRows < limit ? first + kRows : limit, [&](int row) {
    return a.segments[batch * a.segments_batch + row * a.segments_position];
  });
}
/// To shared memory.
template <int kRows>
__forceinline__ void load_ids(int32_t* to, const AttentionArguments& a, int batch, int first,
                              int limit) {
  if (!a.segments) return;
  for (int i = int(threadIdx.x); i < kRows; i += int(blockDim.x))
    to[i] = first + i < limit
                ? a.segments[batch * a.segments_batch + (first + i) * a.segments_position]
                : 0;
}

/// What of a tile of pairs counts.
enum class Counted { kNone, kSome, kAll };

/// Of the queries and keys of a tile, their ids aside.
template <int kQueries, int kKeys>
inline Counted counted_pairs(const AttentionArguments& a, int query, int key) {
  const int oldest = query + kQueries - 1 + a.ahead - a.window + 1;  // that the last query sees
  const bool all = query + kQueries <= a.queries && key + kKeys <= a.keys &&
                   key + kKeys - 1 <= query + a.ahead && oldest <= key;
  return all ? Counted::kAll : Counted::kSome;
}
/// Of what counts by place alone, by the ids of a block's own rows and of kRows others too.
template <int kRows>
__forceinline__ Counted counted_ids(const AttentionArguments& a, Counted by_place,
                                    const Range& own_ids, int batch, int first, int limit) {
  if (!a.segments) return by_place;
  const Range ids = ids_of_rows<kRows>(a, batch, first, limit);
  if (ids.high < own_ids.low || own_ids.high < ids.low) return Counted::kNone;
  const bool same = ids.low == ids.high && own_ids.low == own_ids.high && ids.low == own_ids.low;
  return same ? by_place : Counted::kSome;
}

inline bool is_seen(const AttentionArguments& a, int query, int key) {
  return query < a.queries && key < a.keys && key <= query + a.ahead &&
         key > query + a.ahead - a.window;
}

/// Rows [begin, end), none where end <= begin.
struct Span {
  int begin, end;
};
/// The keys that some of these queries see, and the queries that see some of these keys.
inline Span keys_of(const AttentionArguments& a, int query, int count) {
  const int last = (query + count < a.queries ? query + count : a.queries) - 1;
  const int oldest = query + a.ahead - a.window + 1, newest = last + a.ahead;
  return {oldest < 0 ? 0 : oldest, newest < a.keys ? newest + 1 : a.keys};
}
inline Span queries_of(const AttentionArguments& a, int key, int count) {
  const int newest = (key + count < a.keys ? key + count : a.keys) - 1;
  const int first = key - a.ahead, last = newest - a.ahead + a.window - 1;
  return {first < 0 ? 0 : first, last < a.queries ? last + 1 : a.queries};
}

/// For which of the lane's elements of 16 rows and kColumns columns holds(row, column) is true: bit
/// 4 n + i is element i of piece n.
template <int kColumns, class Holds>
__forceinline__ uint32_t elements_where(Holds holds) {
  uint32_t bits = 0;
  LEV_ROLLED for (int e = 0; e < kColumns / 2; ++e) {
    const bool held = holds(row_of_element(e), e / 4 * 8 + column_of_element(e));
    bits |= uint32_t(held ? 1 : 0) << e;
  }
  return bits;
}
inline bool has_element(uint32_t bits, int n, int i) { return (bits >> (4 * n + i) & 1u) != 0; }

/// Whether dropout keeps a pair, by its index over [heads, queries, keys] under the row's key.
struct Dropout {
  uint32_t k0, k1;
  int64_t first;  ///< index of the head's first pair
  bool keeps(const AttentionArguments& a, int query, int key) const {
    return uniform_of(random_bits_of(k0, k1, first + int64_t(query) * a.keys + key)) < a.keep;
  }
};
inline Dropout dropout_of(const AttentionArguments& a, const AttentionHead& h) {
  const uint32_t* const key = a.dropout_keys + h.batch * a.dropout_batch;
  const int64_t head = int64_t(h.head) * a.groups + h.group;
  return {key[0], key[a.dropout_word], head * a.queries * a.keys};
}

}  // namespace levanter::cuda::kernels

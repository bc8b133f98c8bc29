// Rows multiplied by the weight of their group, and the gradients of the weights. The card itself
// lists the rows by group, so that nothing waits for the host; a block makes a tile of a result,
// in the order of the summed axis, with the next pieces of the factors on their way.
#include "kernels/cuda/device/device.cuh"

namespace levanter::cuda::kernels {

inline int group_lane() { return int(threadIdx.x) % 32; }
inline int group_warp() { return int(threadIdx.x) / 32; }

/// Of the numbers of the threads before this one, and of all threads, kThreads of GroupList.
struct Prefix {
  uint32_t before, total;
};
inline Prefix prefix_of_block(uint32_t mine) {
  LEV_SHARED(uint32_t, of_warps, GroupList::kThreads / 32);
  uint32_t sum = mine;
  for (int step = 1; step < 32; step *= 2) {
    const uint32_t other = __shfl_sync(0xffffffffu, sum, unsigned(group_lane() - step) & 31u);
    if (group_lane() >= step) sum += other;
  }
  if (group_lane() == 31) of_warps[group_warp()] = sum;
  __syncthreads();
  Prefix prefix = {sum - mine, 0};
  for (int w = 0; w < GroupList::kThreads / 32; ++w) {
    if (w < group_warp()) prefix.before += of_warps[w];
    prefix.total += of_warps[w];
  }
  __syncthreads();
  return prefix;
}

/// The neighbouring rows that a thread looks at.
struct OwnRows {
  int begin, end;
};
inline OwnRows own_rows(const GroupList& a) {
  const int each = (a.row_count + GroupList::kThreads - 1) / GroupList::kThreads;
  const int begin = int(threadIdx.x) * each, end = begin + each;
  return {begin, end < a.row_count ? end : a.row_count};
}
inline bool is_of_group(const GroupList& a, int row, int group) {
  const int own = a.group[row];
  return own == group || (group == a.groups && (own < 0 || own > group));
}
inline uint32_t count_of_thread(const GroupList& a, int group) {
  const OwnRows own = own_rows(a);
  uint32_t count = 0;
  for (int row = own.begin; row < own.end; ++row) count += is_of_group(a, row, group) ? 1 : 0;
  return count;
}
inline uint32_t tiles_of(int rows) { return uint32_t(rows + kGroupTile - 1) / kGroupTile; }

/// A block a group, the rows of none among them: how many it has.
LEV_KERNEL_OF(grouped_count, GroupList, GroupList::kThreads) {
  const Prefix count = prefix_of_block(count_of_thread(a, int(blockIdx.x)));
  if (threadIdx.x == 0) a.counts[blockIdx.x] = int(count.total);
}

/// The same blocks list them.
LEV_KERNEL_OF(grouped_list, GroupList, GroupList::kThreads) {
  const int group = int(blockIdx.x), thread = int(threadIdx.x);
  const int first = int(prefix_of_block(thread < group ? tiles_of(a.counts[thread]) : 0).total);
  const Prefix count = prefix_of_block(count_of_thread(a, group));
  const int own_tiles = int(tiles_of(int(count.total)));
  int* const rows = a.rows + int64_t(first) * kGroupTile;
  int place = int(count.before);
  const OwnRows own = own_rows(a);
  for (int row = own.begin; row < own.end; ++row)
    if (is_of_group(a, row, group)) rows[place++] = row;
  for (int i = int(count.total) + thread; i < own_tiles * kGroupTile; i += GroupList::kThreads)
    rows[i] = -1;
  for (int i = thread; i < own_tiles; i += GroupList::kThreads) a.tile_groups[first + i] = group;
  if (thread == 0) a.first_tiles[group] = first;
  if (group < a.groups) return;
  for (int i = first + own_tiles + thread; i < a.tiles; i += GroupList::kThreads)
    a.tile_groups[i] = -1;
  if (thread == 0) a.first_tiles[group + 1] = first + own_tiles;
}

/// Where a piece of a factor is in memory: elements `first` and so on of lines, before `limit`.
/// start(load): the line of a thread's chunk, null for one of zeros.
template <class Line>
struct Lines {
  Line start;
  int first, limit;
  bool in_chunks;
};
template <class Line>
inline Lines<Line> lines_of(Line start, int first, int limit, bool in_chunks) {
  return {start, first, limit, in_chunks};
}

/// A piece of a factor in shared memory: kGroupTile of the result's rows or columns by kDepth of
/// the summed axis, in lines that are lines of memory too. kByDepth: a line is a place of the
/// summed axis.
template <class Element, bool kByDepth>
struct Piece {
  static constexpr int kSize = Chunk<Element>::kElements, kDepth = 4 * kSize;
  static constexpr int kLength = kByDepth ? kGroupTile : kDepth;  ///< of a line
  static constexpr int kPitch = kLength + kSize;
  static constexpr int kLoads = kGroupTile * 4 / kThreads;  ///< chunks of a thread
  /// Room for either kind.
  static constexpr int kElements = kGroupTile * (kDepth + kSize);

  static int line(int load) { return (int(threadIdx.x) + load * kThreads) / (kLength / kSize); }
  static int column(int load) {
    return (int(threadIdx.x) + load * kThreads) % (kLength / kSize) * kSize;
  }

  Chunk<Element> chunks[kLoads];

  template <class Line>
  __forceinline__ void fetch(const Lines<Line>& from) {
    if (!from.in_chunks) return;
    LEV_UNROLLED for (int i = 0; i < kLoads; ++i) {
      const Element* const start = from.start(i);
      const int at = from.first + column(i);
      chunks[i] = {};
      if (start && at < from.limit)
        chunks[i] = *reinterpret_cast<const Chunk<Element>*>(start + at);
    }
  }
  /// What was fetched to shared memory; lines that are not in chunks are read here.
  template <class Line>
  __forceinline__ void put(Element* shared, const Lines<Line>& from) const {
    LEV_UNROLLED for (int i = 0; i < kLoads; ++i) {
      Element* const to = shared + line(i) * kPitch + column(i);
      if (from.in_chunks) {
        *reinterpret_cast<Chunk<Element>*>(to) = chunks[i];
        continue;
      }
      const Element* const start = from.start(i);
      LEV_ROLLED for (int c = 0; c < kSize; ++c) {
        const int at = from.first + column(i) + c;
        to[c] = start && at < from.limit ? start[at] : Element(0);
      }
    }
  }
};

/// What a thread has of a tile of the result.
template <class Element>
struct Tile;

/// A warp makes 64 by 32 of it, on the tensor cores.
template <>
struct Tile<uint16_t> {
  float sums[4][4][4] = {};

  static int first_row() { return group_warp() / 4 * 64; }
  static int first_column() { return group_warp() % 4 * 32; }

  template <bool kLeftByDepth, bool kRightByDepth>
  __forceinline__ void multiply(const uint16_t* left, const uint16_t* right) {
    constexpr int kLeft = Piece<uint16_t, kLeftByDepth>::kPitch;
    constexpr int kRight = Piece<uint16_t, kRightByDepth>::kPitch;
    const int lane = group_lane(), lower = lane % 16, half = lane / 16 * 8;
    const int inner = half + lane % 8, outer = lane / 8 % 2 * 8;
    left +=
        kLeftByDepth ? inner * kLeft + outer + first_row() : (first_row() + lower) * kLeft + half;
    right += kRightByDepth ? lower * kRight + half + first_column()
                           : (first_column() + inner) * kRight + outer;
    LEV_ROLLED for (int k = 0; k < Piece<uint16_t, true>::kDepth; k += 16) {
      uint32_t b[2][4];
      LEV_UNROLLED for (int n = 0; n < 2; ++n) load_matrices<kRightByDepth>(
          b[n], right + (kRightByDepth ? k * kRight + n * 16 : n * 16 * kRight + k));
      LEV_UNROLLED for (int m = 0; m < 4; ++m) {
        uint32_t a[4];
        load_matrices<kLeftByDepth>(
            a, left + (kLeftByDepth ? k * kLeft + m * 16 : m * 16 * kLeft + k));
        LEV_UNROLLED for (int n = 0; n < 2; ++n) {
          multiply_fragments(sums[m][2 * n], a, {b[n][0], b[n][1]});
          multiply_fragments(sums[m][2 * n + 1], a, {b[n][2], b[n][3]});
        }
      }
    }
  }

  /// fn(row, column, sum, sum of the next column)
  template <class Fn>
  __forceinline__ void for_pairs(Fn fn) const {
    const int row = first_row() + group_lane() / 4;
    const int column = first_column() + group_lane() % 4 * 2;
    LEV_UNROLLED for (int m = 0; m < 4; ++m) {
      LEV_UNROLLED for (int n = 0; n < 4; ++n) {
        fn(row + m * 16, column + n * 8, sums[m][n][0], sums[m][n][1]);
        fn(row + m * 16 + 8, column + n * 8, sums[m][n][2], sums[m][n][3]);
      }
    }
  }
};

/// A thread makes 8 rows of 4 pairs of columns.
template <>
struct Tile<float> {
  float sums[8][8] = {};

  template <bool kByDepth>
  static float element(const float* shared, int outer, int k) {
    constexpr int kPitch = Piece<float, kByDepth>::kPitch;
    return shared[kByDepth ? k * kPitch + outer : outer * kPitch + k];
  }
  static int row(int i) { return int(threadIdx.x) / 16 + 16 * i; }
  static int column(int j) { return int(threadIdx.x) % 16 * 2 + 32 * (j / 2) + j % 2; }

  template <bool kLeftByDepth, bool kRightByDepth>
  __forceinline__ void multiply(const float* left, const float* right) {
    LEV_ROLLED for (int k = 0; k < Piece<float, true>::kDepth; ++k) {
      float b[8];
      LEV_UNROLLED for (int j = 0; j < 8; ++j) b[j] = element<kRightByDepth>(right, column(j), k);
      LEV_UNROLLED for (int i = 0; i < 8; ++i) {
        const float x = element<kLeftByDepth>(left, row(i), k);
        LEV_UNROLLED for (int j = 0; j < 8; ++j) sums[i][j] = fmaf(x, b[j], sums[i][j]);
      }
    }
  }

  template <class Fn>
  __forceinline__ void for_pairs(Fn fn) const {
    LEV_UNROLLED for (int i = 0; i < 8; ++i) {
      LEV_UNROLLED for (int j = 0; j < 8; j += 2) fn(row(i), column(j), sums[i][j], sums[i][j + 1]);
    }
  }
};

/// Adds the products over [0, depth); left(k) and right(k) are the lines of the pieces at k. While
/// a piece is multiplied the next is on its way to the other half of the memory.
template <bool kLeftByDepth, bool kRightByDepth, class Element, class Left, class Right>
__forceinline__ void multiply_pieces(Tile<Element>& tile, int depth, Left left, Right right) {
  using LeftPiece = Piece<Element, kLeftByDepth>;
  using RightPiece = Piece<Element, kRightByDepth>;
  constexpr int kRoom = LeftPiece::kElements, kDepth = LeftPiece::kDepth;
  LEV_SHARED(Chunk<Element>, room, 4 * kRoom / Chunk<Element>::kElements);
  Element *now = reinterpret_cast<Element*>(room), *next = now + 2 * kRoom;
  LeftPiece left_piece;
  RightPiece right_piece;
  const auto fetch = [&](int k) {
    left_piece.fetch(left(k));
    right_piece.fetch(right(k));
  };
  const auto put = [&](Element* to, int k) {
    left_piece.put(to, left(k));
    right_piece.put(to + kRoom, right(k));
  };
  fetch(0);
  put(now, 0);
  __syncthreads();
  LEV_ROLLED for (int k = 0; k < depth; k += kDepth) {
    const bool more = k + kDepth < depth;
    if (more) fetch(k + kDepth);
    tile.template multiply<kLeftByDepth, kRightByDepth>(now, now + kRoom);
    if (more) put(next, k + kDepth);
    __syncthreads();
    Element* const free = now;
    now = next;
    next = free;
  }
}

/// Two neighbours of a row of n.
inline void store_pair(float* row, int column, int n, float low, float high) {
  if (n % 2 == 0) {
    if (column < n) *reinterpret_cast<Pair<float>*>(row + column) = {{low, high}};
  } else {
    if (column < n) row[column] = low;
    if (column + 1 < n) row[column + 1] = high;
  }
}

/// A block a tile of listed rows by columns; neighbouring blocks share the rows. kTurned: weights
/// are [n, depth].
template <class Element, bool kTurned>
__forceinline__ void grouped_dot(const GroupedArguments& a) {
  const int blocks = (a.n + kGroupTile - 1) / kGroupTile, tile = int(blockIdx.x) / blocks;
  const int first_n = int(blockIdx.x) % blocks * kGroupTile, group = a.list.tile_groups[tile];
  if (group < 0) return;
  const int* const rows = a.list.rows + int64_t(tile) * kGroupTile;
  const Element* const x = static_cast<const Element*>(a.left);
  const bool has_weight = group < a.list.groups;
  const Element* const weight = static_cast<const Element*>(a.weights[has_weight ? group : 0]);
  const Element* starts[Piece<Element, false>::kLoads];
  LEV_UNROLLED for (int i = 0; i < Piece<Element, false>::kLoads; ++i) {
    const int row = rows[Piece<Element, false>::line(i)];
    starts[i] = row < 0 ? nullptr : x + int64_t(row / a.left_repeat) * a.depth;
  }
  using RightPiece = Piece<Element, !kTurned>;
  const int depth = has_weight ? a.depth : 0, length = kTurned ? a.depth : a.n;
  Tile<Element> sums;
  multiply_pieces<false, !kTurned>(
      sums, depth,
      [&](int k) { return lines_of([&](int i) { return starts[i]; }, k, depth, a.left_in_chunks); },
      [&](int k) {
        const int first_line = kTurned ? first_n : k, lines = kTurned ? a.n : depth;
        const auto start = [=](int i) -> const Element* {
          const int line = first_line + RightPiece::line(i);
          return line < lines ? weight + int64_t(line) * length : nullptr;
        };
        return lines_of(start, kTurned ? k : first_n, has_weight ? length : 0, a.right_in_chunks);
      });
  sums.for_pairs([&](int row, int column, float low, float high) {
    const int to = rows[row];
    if (to >= 0) store_pair(a.y + int64_t(to) * a.n, first_n + column, a.n, low, high);
  });
}

/// A block a tile of a group's gradient.
template <class Element>
__forceinline__ void grouped_outer(const GroupedArguments& a) {
  const int columns = (a.n + kGroupTile - 1) / kGroupTile;
  const int blocks = (a.m + kGroupTile - 1) / kGroupTile * columns;
  const int group = int(blockIdx.x) / blocks, tile = int(blockIdx.x) % blocks;
  const int first_m = tile / columns * kGroupTile, first_n = tile % columns * kGroupTile;
  const int* const rows = a.list.rows + int64_t(a.list.first_tiles[group]) * kGroupTile;
  const int depth = a.list.counts[group];
  // Lines at listed rows: what a row repeats of `from`, `width` elements each.
  const auto lines = [&](const void* from, int k, int repeat, int first, int width,
                         bool in_chunks) {
    const auto start = [=](int i) -> const Element* {
      const int place = k + Piece<Element, true>::line(i);
      if (place >= depth) return nullptr;
      return static_cast<const Element*>(from) + int64_t(rows[place] / repeat) * width;
    };
    return lines_of(start, first, width, in_chunks);
  };
  Tile<Element> sums;
  multiply_pieces<true, true>(
      sums, depth,
      [&](int k) { return lines(a.left, k, a.left_repeat, first_m, a.m, a.left_in_chunks); },
      [&](int k) { return lines(a.right, k, a.right_repeat, first_n, a.n, a.right_in_chunks); });
  float* const to = static_cast<float*>(a.weights[group]);
  sums.for_pairs([&](int row, int column, float low, float high) {
    const int m = first_m + row;
    if (m < a.m) store_pair(to + int64_t(m) * a.n, first_n + column, a.n, low, high);
  });
}

LEV_KERNEL_BLOCKS(grouped_dot_bf16, GroupedArguments, kThreads, 2) {
  grouped_dot<uint16_t, false>(a);
}
LEV_KERNEL_BLOCKS(grouped_dot_turned_bf16, GroupedArguments, kThreads, 2) {
  grouped_dot<uint16_t, true>(a);
}
LEV_KERNEL_BLOCKS(grouped_outer_bf16, GroupedArguments, kThreads, 2) { grouped_outer<uint16_t>(a); }
LEV_KERNEL_BLOCKS(grouped_dot_f32, GroupedArguments, kThreads, 2) { grouped_dot<float, false>(a); }
LEV_KERNEL_BLOCKS(grouped_dot_turned_f32, GroupedArguments, kThreads, 2) {
  grouped_dot<float, true>(a);
}
LEV_KERNEL_BLOCKS(grouped_outer_f32, GroupedArguments, kThreads, 2) { grouped_outer<float>(a); }

}  // namespace levanter::cuda::kernels

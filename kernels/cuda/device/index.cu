// Rows picked and put by an index: gather, scatter_add, scatter, top_k.
#include "kernels/cuda/device/math.cuh"

namespace levanter::cuda::kernels {

LEV_KERNEL(gather, GatherArguments) {
  for (int64_t i = first_index(); i < a.space.count; i += index_step()) {
    const Offsets<3> o = offsets_of<3>(a.space, i);
    const int64_t row = a.index[o.at[1]];
    const bool inside = row >= 0 && row < a.size;
    store_word(a.to, a.word_bytes, o.at[2],
               inside ? load_word(a.from, a.word_bytes, o.at[0] + row * a.stride) : 0u);
  }
}

/// The index of a position under one index of the kept axes, whose offset is `kept`.
inline int64_t index_at(const ScatterArguments& a, int64_t kept, int64_t position) {
  return a.index[kept + offsets_of<3>(a.positions, position).at[1]];
}

/// Positions that a thread looks at between two barriers.
constexpr int kRounds = 8;

/// Whether a position in [begin, end) has the index `wanted`; all threads get the answer.
inline bool is_among(const ScatterArguments& a, int* found, int64_t kept, int64_t begin,
                     int64_t end, int64_t wanted) {
  bool any = false;
  for (int64_t first = begin; first < end && !any; first += kThreads * kRounds) {
    if (threadIdx.x == 0) *found = 0;
    __syncthreads();
    bool mine = false;
    LEV_UNROLLED for (int r = 0; r < kRounds; ++r) {
      const int64_t position = first + r * kThreads + threadIdx.x;
      if (position < end) mine |= index_at(a, kept, position) == wanted;
    }
    if (mine) *found = 1;
    __syncthreads();
    any = *found != 0;
    __syncthreads();
  }
  return any;
}

/// Elements of `wide` that a thread sums at once.
constexpr int kHeld = 4;

/// The updates at the index of `position` and of all after it that have the same, in order.
/// `found`, kRounds of them, and `matches`, kRounds * kThreads: shared by the block.
template <class T>
inline void add_rows(const ScatterArguments& a, int* found, int* matches, const Offsets<3>& kept,
                     int64_t position, int64_t row) {
  const int t = int(threadIdx.x);
  for (int64_t first_wide = t; first_wide - t < a.wide.count; first_wide += kThreads * kHeld) {
    int64_t starts[kHeld], ends[kHeld];
    T sums[kHeld] = {};
    LEV_UNROLLED for (int h = 0; h < kHeld; ++h) {
      const int64_t w = first_wide + h * kThreads;
      const Offsets<3> wide = offsets_of<3>(a.wide, w < a.wide.count ? w : 0);
      starts[h] = w < a.wide.count ? kept.at[0] + wide.at[0] : -1;
      ends[h] = kept.at[2] + wide.at[2] + row * a.stride;
    }
    for (int64_t first = position; first < a.positions.count; first += kThreads * kRounds) {
      if (t < kRounds) found[t] = 0;
      __syncthreads();
      LEV_UNROLLED for (int r = 0; r < kRounds; ++r) {
        const int64_t p = first + r * kThreads + t;
        const bool mine = p < a.positions.count && index_at(a, kept.at[1], p) == row;
        matches[r * kThreads + t] = mine;
        if (mine) found[r] = 1;
      }
      __syncthreads();
      for (int i = 0; i < kRounds * kThreads; ++i) {
        if (found[i / kThreads] == 0) {
          i += kThreads - 1;  // none of this round
          continue;
        }
        if (matches[i] == 0) continue;
        const T* const from =
            static_cast<const T*>(a.from) + offsets_of<3>(a.positions, first + i).at[0];
        LEV_UNROLLED for (int h = 0; h < kHeld; ++h) {
          if (starts[h] >= 0) sums[h] = T(sums[h] + from[starts[h]]);
        }
      }
      __syncthreads();
    }
    LEV_UNROLLED for (int h = 0; h < kHeld; ++h) {
      if (starts[h] >= 0) static_cast<T*>(a.to)[ends[h]] = sums[h];
    }
  }
}

/// A block a position: the first of those with its index adds them all. `to` is zero before.
LEV_KERNEL(scatter_add, ScatterArguments) {
  LEV_SHARED(int, found, kRounds);
  LEV_SHARED(int, matches, kRounds* kThreads);
  const int64_t position = blockIdx.x;
  for (int64_t k = blockIdx.y; k < a.kept.count; k += gridDim.y) {
    const Offsets<3> kept = offsets_of<3>(a.kept, k);
    const int64_t row = index_at(a, kept.at[1], position);
    if (row < 0 || row >= a.size) continue;
    if (is_among(a, found, kept.at[1], 0, position, row)) continue;
    if (a.element == Element::kF32)
      add_rows<float>(a, found, matches, kept, position, row);
    else
      add_rows<uint32_t>(a, found, matches, kept, position, row);
  }
}

/// Where there is one position no two updates meet: a thread an element. `to` is zero before.
LEV_KERNEL(scatter_add_one, ScatterArguments) {
  for (int64_t i = first_index(); i < a.kept.count * a.wide.count; i += index_step()) {
    const Offsets<3> kept = offsets_of<3>(a.kept, i / a.wide.count);
    const Offsets<3> wide = offsets_of<3>(a.wide, i % a.wide.count);
    const int64_t row = index_at(a, kept.at[1], 0);
    if (row < 0 || row >= a.size) continue;
    store_word(a.to, 4, kept.at[2] + wide.at[2] + row * a.stride,
               load_word(a.from, 4, kept.at[0] + wide.at[0]));
  }
}

/// A thread an element of an update, which leaves where a later position has its index.
LEV_KERNEL(scatter, ScatterArguments) {
  const int64_t updates = a.kept.count * a.positions.count * a.wide.count;
  for (int64_t i = first_index(); i < updates; i += index_step()) {
    const Offsets<3> wide = offsets_of<3>(a.wide, i % a.wide.count);
    const int64_t position = i / a.wide.count % a.positions.count;
    const Offsets<3> kept = offsets_of<3>(a.kept, i / a.wide.count / a.positions.count);
    const int64_t row = index_at(a, kept.at[1], position);
    bool last = row >= 0 && row < a.size;
    for (int64_t p = position + 1; p < a.positions.count && last; ++p)
      last = index_at(a, kept.at[1], p) != row;
    if (!last) continue;
    const int64_t from = kept.at[0] + wide.at[0] + offsets_of<3>(a.positions, position).at[0];
    store_word(a.to, a.word_bytes, kept.at[2] + wide.at[2] + row * a.stride,
               load_word(a.from, a.word_bytes, from));
  }
}

/// A value and where it is; the larger comes first, of equals the one with the smaller index.
struct Candidate {
  float value;
  int64_t index;
};
inline bool comes_before(const Candidate& x, const Candidate& y) {
  return y.value < x.value || (x.value == y.value && x.index < y.index);
}
inline float order_of(float v) { return v == v ? v : -infinity(); }

/// The one of two that comes first; an index below 0: none.
inline Candidate first_of(const Candidate& x, const Candidate& y) {
  if (x.index < 0 || (y.index >= 0 && comes_before(y, x))) return y;
  return x;
}

/// A block a row, one choice after the other.
LEV_KERNEL(top_k, TopKArguments) {
  LEV_SHARED(Candidate, candidates, kThreads);
  for (int64_t row = blockIdx.x; row < a.rows.count; row += gridDim.x) {
    const Offsets<2> o = offsets_of<2>(a.rows, row);
    Candidate last = {infinity(), -1};
    for (int64_t choice = 0; choice < a.choices; ++choice) {
      Candidate best = {0.0f, -1};
      for (int64_t i = threadIdx.x; i < a.size; i += kThreads) {
        const Candidate c = {order_of(load_real(a.from, a.element, o.at[0] + i * a.stride)), i};
        const bool taken = last.value < c.value || (c.value == last.value && i <= last.index);
        if (!taken) best = first_of(best, c);
      }
      last = combine_block(candidates, best, first_of);
      if (threadIdx.x == 0) a.to[o.at[1] + choice * a.to_stride] = int(last.index);
    }
  }
}

}  // namespace levanter::cuda::kernels

// Attention's tiles of scores, transposed so that lanes are queries, and the rows of cross entropy.
// Plain twins: src/ops/composite/attention.cpp and linear_xent.cpp.
#include "kernels/cpu/vector_math.h"
#include "kernels/cpu/vector_parts.h"
#include "kernels/cpu/vector_threefry.h"

namespace levanter::cpu::LEVANTER_ISA {
namespace {

int64_t between(int64_t low, int64_t x, int64_t high) {
  if (x < low) return low;
  return x > high ? high : x;
}

/// The sixteen columns of a tile from column `first` on, and the rows that they see.
struct Strip {
  const ScoreTile& tile;
  int64_t first;
  int64_t begin, end;          ///< rows that some column sees but for segments
  int64_t all_begin, all_end;  ///< rows that all columns see

  Strip(const ScoreTile& t, int64_t column) : tile(t), first(column) {
    const int64_t last = first + kLanes - 1;
    begin = between(0, first + t.diagonal - t.window + 1, t.keys);
    end = between(begin, last + t.diagonal + 1, t.keys);
    all_begin = between(begin, last + t.diagonal - t.window + 1, end);
    all_end =
        t.key_segments != nullptr ? all_begin : between(all_begin, first + t.diagonal + 1, end);
  }

  /// The lanes that see row r.
  [[gnu::always_inline]] Ints seen(int64_t r) const {
    const int64_t lane = r - tile.diagonal - first;
    const int64_t from = between(0, lane, kLanes), to = between(from, lane + tile.window, kLanes);
    Ints lanes = lanes_below(to) ^ lanes_below(from);
    if (tile.key_segments != nullptr) {
      lanes = lanes & (load(tile.query_segments + first) == splat(tile.key_segments[r]));
    }
    return lanes;
  }
  /// The lanes whose element of row r dropout keeps.
  [[gnu::always_inline]] Ints kept(int64_t r) const {
    const uint64_t counter = tile.random.counter + static_cast<uint64_t>(r) +
                             static_cast<uint64_t>(first) * tile.counters;
    return uniform(block_bits(tile.random, counter, tile.counters)) < splat(tile.keep);
  }
};

/// Calls body(r, whole) for the rows of a strip in order: whole where all lanes see row r.
template <class Body>
[[gnu::always_inline]] inline void for_rows(const Strip& strip, Body body) {
  for (int64_t r = strip.begin; r < strip.all_begin; ++r) body(r, false);
  for (int64_t r = strip.all_begin; r < strip.all_end; ++r) body(r, true);
  for (int64_t r = strip.all_end; r < strip.end; ++r) body(r, false);
}

/// As f32, or rounded to bf16.
[[gnu::always_inline]] inline void put(float* p, Floats a) { store(p, a); }
[[gnu::always_inline]] inline void put(uint16_t* p, Floats a) { store_halves(p, bf16_bits(a)); }
[[gnu::always_inline]] inline void put(float* p, float a) { *p = a; }
[[gnu::always_inline]] inline void put(uint16_t* p, float a) {
  uint16_t lanes[kLanes];
  store_halves(lanes, bf16_bits(splat(a)));
  *p = lanes[0];
}

template <class Out>
void clear_rows(Out* s, int64_t begin, int64_t end, int64_t width) {
  for (int64_t r = begin; r < end; ++r) put(s + r * width, splat(0.0f));
}

/// The largest score of each lane; scores that a lane does not see become -inf.
template <bool kCapped>
[[gnu::always_inline]] inline Floats score_strip(const Strip& strip, float* s) {
  const ScoreTile& tile = strip.tile;
  const int64_t width = tile.queries;
  const Floats lowest = splat(-__builtin_inff()), cap = splat(tile.soft_cap);
  const Floats by = splat(kCapped ? tile.scale / tile.soft_cap : tile.scale);
  Floats largest = lowest;
  for_rows(strip, [&](int64_t r, bool whole) {
    Floats x = by * load(s + r * width);
    if (kCapped) x = cap * tanh(x);
    if (!whole) x = select(strip.seen(r), x, lowest);
    store(s + r * width, x);
    largest = larger(largest, x);
  });
  return largest;
}

template <class Out>
void attention_softmax(Out* p, float* s, float* norm, float* lse, const ScoreTile& tile) {
  const int64_t width = tile.queries;
  const Floats lowest = splat(-__builtin_inff()), none = splat(0.0f);
  for (int64_t c = 0; c < width; c += kLanes) {
    const Strip strip(tile, c);
    float* const column = s + c;
    const Floats largest =
        tile.soft_cap > 0 ? score_strip<true>(strip, column) : score_strip<false>(strip, column);
    // Without a key all scores are -inf, and their exponentials shall be 0.
    const Floats top = select(largest == lowest, none, largest);
    Floats total = none;
    for (int64_t r = strip.begin; r < strip.end; ++r) {
      const Floats e = exp_negative(load(column + r * width) - top);
      total = total + e;
      put(p + c + r * width, tile.keep < 1 ? select(strip.kept(r), e, none) : e);
    }
    clear_rows(p + c, 0, strip.begin, width);
    clear_rows(p + c, strip.end, tile.keys, width);
    store(norm + c, select(total == none, none, splat(1.0f) / (total * splat(tile.keep))));
    store(lse + c, top + log(total));
  }
}

void attention_statistics(float* entropy, float* largest, float* s, const ScoreTile& tile) {
  const int64_t width = tile.queries;
  const Floats none = splat(0.0f);
  for (int64_t c = 0; c < width; c += kLanes) {
    const Strip strip(tile, c);
    float* const column = s + c;
    const Floats top =
        tile.soft_cap > 0 ? score_strip<true>(strip, column) : score_strip<false>(strip, column);
    Floats total = none, sum = none;
    for (int64_t r = strip.begin; r < strip.end; ++r) {
      const Floats below = load(column + r * width) - top, e = exp_negative(below);
      total = total + e;
      sum = sum + select(e == none, none, e * below);  // a score that is not seen is -inf
    }
    store(entropy + c, log(total) - sum / total);
    store(largest + c, top);
  }
}

template <bool kCapped, class Out>
[[gnu::always_inline]] inline void backward_strip(const Strip& strip, Out* p_out, Out* ds_out,
                                                  const float* s, const float* dp, Floats lse,
                                                  Floats delta) {
  const ScoreTile& tile = strip.tile;
  const int64_t width = tile.queries;
  const Floats none = splat(0.0f), one = splat(1.0f), cap = splat(tile.soft_cap);
  const Floats by = splat(kCapped ? tile.scale / tile.soft_cap : tile.scale);
  const Floats more = splat(1.0f / tile.keep);
  for_rows(strip, [&](int64_t r, bool whole) {
    Floats x = by * load(s + r * width), slope = one;
    if (kCapped) {
      const Floats bent = tanh(x);
      x = cap * bent;
      slope = one - bent * bent;
    }
    Floats p = exp_negative(x - lse), g = load(dp + r * width);
    if (!whole) p = select(strip.seen(r), p, none);
    Floats dropped = p;
    if (tile.keep < 1) {
      const Ints kept = strip.kept(r);
      dropped = select(kept, p, none);
      g = select(kept, more * g, none);
    }
    // Where p is 1 no other key counts, and the difference is nothing but rounding.
    Floats ds = select(p == one, none, p * (g - delta));
    if (kCapped) ds = ds * slope;
    put(p_out + r * width, dropped);
    put(ds_out + r * width, ds);
  });
  for (Out* const array : {p_out, ds_out}) {
    clear_rows(array, 0, strip.begin, width);
    clear_rows(array, strip.end, tile.keys, width);
  }
}

template <class Out>
void attention_backward(Out* p, Out* ds, const float* s, const float* dp, const float* lse,
                        const float* delta, const ScoreTile& tile) {
  for (int64_t c = 0; c < tile.queries; c += kLanes) {
    const Strip strip(tile, c);
    const Floats shift = load(lse + c), less = load(delta + c);
    if (tile.soft_cap > 0) {
      backward_strip<true>(strip, p + c, ds + c, s + c, dp + c, shift, less);
    } else {
      backward_strip<false>(strip, p + c, ds + c, s + c, dp + c, shift, less);
    }
  }
}

[[gnu::always_inline]] inline Floats4 load4(const float* p) {
  Floats4 a;
  __builtin_memcpy(&a, p, sizeof a);
  return a;
}
[[gnu::always_inline]] inline void store4(float* p, Floats4 a) {
  __builtin_memcpy(p, &a, sizeof a);
}

void transpose(float* to, int64_t to_stride, const float* from, int64_t from_stride, int64_t rows,
               int64_t columns, const float* factor) {
  const auto one = [=](int64_t r, int64_t c) {
    const float x = from[r * from_stride + c];
    to[c * to_stride + r] = factor == nullptr ? x : x * factor[c];
  };
  const int64_t quads = rows / 4 * 4, squares = columns / 4 * 4;
  for (int64_t r = 0; r < quads; r += 4) {
    for (int64_t c = 0; c < squares; c += 4) {
      const float* const p = from + r * from_stride + c;
      Floats4 a0 = load4(p), a1 = load4(p + from_stride), a2 = load4(p + 2 * from_stride),
              a3 = load4(p + 3 * from_stride);
      if (factor != nullptr) {
        const Floats4 by = load4(factor + c);
        a0 = a0 * by;
        a1 = a1 * by;
        a2 = a2 * by;
        a3 = a3 * by;
      }
      const Floats4 b0 = __builtin_shufflevector(a0, a1, 0, 4, 1, 5),
                    b1 = __builtin_shufflevector(a0, a1, 2, 6, 3, 7),
                    b2 = __builtin_shufflevector(a2, a3, 0, 4, 1, 5),
                    b3 = __builtin_shufflevector(a2, a3, 2, 6, 3, 7);
      float* const q = to + c * to_stride + r;
      store4(q, __builtin_shufflevector(b0, b2, 0, 1, 4, 5));
      store4(q + to_stride, __builtin_shufflevector(b0, b2, 2, 3, 6, 7));
      store4(q + 2 * to_stride, __builtin_shufflevector(b1, b3, 0, 1, 4, 5));
      store4(q + 3 * to_stride, __builtin_shufflevector(b1, b3, 2, 3, 6, 7));
    }
    for (int64_t c = squares; c < columns; ++c) {
      for (int64_t i = r; i < r + 4; ++i) one(i, c);
    }
  }
  for (int64_t r = quads; r < rows; ++r) {
    for (int64_t c = 0; c < columns; ++c) one(r, c);
  }
}

/// The largest logit; with a cap the row becomes the capped logits.
float largest_logit(float* logits, int64_t n, float soft_cap) {
  const Floats lowest = splat(-__builtin_inff()), cap = splat(soft_cap);
  const Floats by = splat(1.0f / soft_cap);
  Floats largest = lowest;
  for_vectors(n, [&](int64_t i, int64_t count) {
    Floats x = load_up_to(logits + i, count);
    if (soft_cap > 0) {
      x = cap * tanh(x * by);
      store_up_to(logits + i, x, count);
    }
    largest = larger(largest, count == kLanes ? x : select(lanes_below(count), x, lowest));
  });
  return fold_max(largest);
}

template <class Out>
float cross_entropy(Out* dlogits, float* logits, int64_t n, const CrossEntropyRow& row,
                    float* loss) {
  const Floats lowest = splat(-__builtin_inff()), one = splat(1.0f);
  const bool capped = row.soft_cap > 0;
  const Floats by = splat(1.0f / row.soft_cap);
  const float top = largest_logit(logits, n, row.soft_cap);
  const float wanted = logits[row.target];
  const Floats shift = splat(top);
  // The target apart from the others: at it, softmax - 1 is minus the others' sum, and no digits
  // cancel when the softmax is near 1.
  logits[row.target] = -__builtin_inff();
  const float others = sum_vectors(n, [=](int64_t i, int64_t count) {
    const Floats logit = load_up_to(logits + i, count);
    Floats x = logit - shift;
    if (count != kLanes) x = select(lanes_below(count), x, lowest);
    const Floats e = exp_negative(x);
    if (row.gradient) {
      const Floats bent = logit * by;
      store_up_to(logits + i, capped ? select(e == splat(0.0f), e, e * (one - bent * bent)) : e,
                  count);
    }
    return e;
  });
  float lanes[kLanes];
  store(lanes, exp_negative(splat(wanted - top)));
  const float own = lanes[0], total = others + own;
  store(lanes, log(splat(total)));
  const float lse = top + lanes[0];
  *loss = lanes[0] - (wanted - top);
  if (row.gradient) {
    const float factor = row.scale / total, more = 2 * row.z_loss * lse;
    const Floats all = splat(row.z_loss > 0 ? factor * (1 + more) : factor);
    const int64_t whole = n / kLanes * kLanes;
    for (int64_t i = 0; i < whole; i += kLanes) put(dlogits + i, load(logits + i) * all);
    store(lanes, load_up_to(logits + whole, n - whole) * all);
    for (int64_t i = whole; i < n; ++i) put(dlogits + i, lanes[i - whole]);
    const float bent = capped ? wanted / row.soft_cap : 0;
    float at_target = -others * factor;
    if (row.z_loss > 0) at_target = at_target + own * factor * more;
    put(dlogits + row.target, capped ? at_target * (1 - bent * bent) : at_target);
  } else {
    logits[row.target] = wanted;
  }
  return lse;
}

}  // namespace

void fill_softmax(VectorKernels& table) {
  table.attention_softmax = attention_softmax<float>;
  table.attention_softmax_bf16 = attention_softmax<uint16_t>;
  table.attention_statistics = attention_statistics;
  table.attention_backward = attention_backward<float>;
  table.attention_backward_bf16 = attention_backward<uint16_t>;
  table.transpose = transpose;
  table.cross_entropy = cross_entropy<float>;
  table.cross_entropy_bf16 = cross_entropy<uint16_t>;
}

}  // namespace levanter::cpu::LEVANTER_ISA

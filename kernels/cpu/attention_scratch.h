// What both passes of attention share inside: a worker's scratch, rows between strides, and what
// f32 and bf16 do differently.
#pragma once

#include <algorithm>
#include <type_traits>

#include "base/integers.h"
#include "kernels/cpu/attention.h"

namespace levanter::cpu {

/// A worker's scratch; each pass uses its part. Element is float, or uint16_t for the bits of a
/// bf16, which needs no transposed queries: they are repacked anyway.
template <class Element>
struct Attention::Scratch {
  int worker;
  int32_t* segments;                      ///< [queries], then 0
  Element *k, *v;                         ///< [keys, head_dim]
  Element* v_transposed;                  ///< [head_dim, keys]
  Element* k_transposed;                  ///< for each block of keys [head_dim, block]
  Element *q, *d_o;                       ///< for each tile of queries [width, head_dim]
  Element *q_transposed, *do_transposed;  ///< for each tile of queries [head_dim, width], of f32
  float *dk, *dv;                         ///< [keys, head_dim]
  float* dq_transposed;                   ///< for each tile of queries [head_dim, width]
  float *lse, *delta;                     ///< [width] for each tile
  float *scores, *d_p;                    ///< [keys of a block, width]
  Element *p, *d_s;                       ///< [keys of a block, width]; of f32 the same memory
  float* mixed;                           ///< a product before it is added or transposed
  float* rows;                            ///< [width, head_dim]
  float* factor;                          ///< [width]
  void* product;
};

struct Attention::Item {
  int64_t batch, kv_head;
};

/// Which of the keys [begin, end) lie in the block of `size` keys from `first` on.
struct BlockKeys {
  int64_t begin = 0, count = 0;
};
inline BlockKeys block_keys(int64_t begin, int64_t end, int64_t first, int64_t size) {
  const int64_t from = std::max(begin, first), to = std::min(end, first + size);
  return {from, std::max<int64_t>(0, to - from)};
}

/// rows x width from rows `stride` apart to dense rows.
inline void gather_rows(float* dense, const float* from, int64_t stride, int64_t rows,
                        int64_t width) {
  vector_kernels().copy_rows(dense, width, from, stride, rows, width);
}
inline void gather_rows(uint16_t* dense, const uint16_t* from, int64_t stride, int64_t rows,
                        int64_t width) {
  vector_kernels().copy_rows_bf16(dense, width, from, stride, rows, width);
}

/// Dense f32 rows to rows `stride` apart, rounded to their type.
inline void scatter_rows(float* to, int64_t stride, const float* dense, int64_t rows,
                         int64_t width) {
  vector_kernels().copy_rows(to, stride, dense, width, rows, width);
}
inline void scatter_rows(uint16_t* to, int64_t stride, const float* dense, int64_t rows,
                         int64_t width) {
  vector_kernels().narrow_rows(to, stride, dense, width, rows, width);
}

/// to[c, r] = from[r, c]
inline void transpose(float* to, int64_t to_stride, const float* from, int64_t rows,
                      int64_t columns) {
  vector_kernels().transpose(to, to_stride, from, columns, rows, columns, nullptr);
}
inline void transpose(uint16_t* to, int64_t to_stride, const uint16_t* from, int64_t rows,
                      int64_t columns) {
  vector_kernels().transpose_2(to, to_stride, from, columns, rows, columns);
}

template <class Element>
constexpr bool kIsBf16 = std::is_same_v<Element, uint16_t>;

inline int64_t offset(const AttentionView& view, int64_t batch, int64_t position, int64_t head) {
  return batch * view.batch + position * view.position + head * view.head;
}
template <class Element>
const Element* row_of(const void* array, const AttentionView& view, int64_t batch, int64_t position,
                      int64_t head) {
  return static_cast<const Element*>(array) + offset(view, batch, position, head);
}
template <class Element>
Element* row_of(void* array, const AttentionView& view, int64_t batch, int64_t position,
                int64_t head) {
  return static_cast<Element*>(array) + offset(view, batch, position, head);
}

template <class Element>
void Attention::run_pieces(const Pieces& pieces, const Element* a, const Element* b, float* c,
                           const Scratch<Element>& s) {
  for (const Piece& piece : pieces)
    piece.product->run(s.worker, a + piece.a, b + piece.b, c + piece.c, s.product);
}

template <class Element>
Attention::Scratch<Element> Attention::carve(void* scratch, int worker) const {
  const int64_t head_dim = shape_.head_dim, keys = shape_.keys, width = tiles_.front().width;
  const bool is_forward = pass_ == Pass::kForward, transposes = !kIsBf16<Element>;
  std::uintptr_t at = reinterpret_cast<std::uintptr_t>(scratch) +
                      static_cast<std::uintptr_t>(worker) * scratch_bytes_;
  const auto bytes = [&at](size_t count) {
    void* const here = reinterpret_cast<void*>(at);
    at += (count + 63) / 64 * 64;
    return here;
  };
  const auto floats = [&](int64_t n) {
    return static_cast<float*>(bytes(4 * static_cast<size_t>(n)));
  };
  const auto elements = [&](int64_t n) {
    return static_cast<Element*>(bytes(sizeof(Element) * static_cast<size_t>(n)));
  };
  const int64_t all = keys * head_dim, tile = width * head_dim, padded = padded_ * head_dim;
  const int64_t scores = (is_forward ? most_keys_ : block_) * width;
  Scratch<Element> s{};
  s.worker = worker;
  s.segments = static_cast<int32_t*>(bytes(sizeof(int32_t) * static_cast<size_t>(padded_)));
  s.k = elements(all);
  s.q = elements(is_forward ? tile : padded);
  if (transposes) s.q_transposed = elements(is_forward ? tile : padded);
  s.factor = floats(width);
  s.lse = floats(is_forward ? width : padded_);
  s.scores = floats(scores);
  s.mixed = floats(std::max(is_forward ? 0 : block_, width) * head_dim);
  s.rows = floats(tile);
  if (is_forward) {
    s.v_transposed = elements(all);
  } else {
    s.v = elements(all);
    s.k_transposed = elements(round_up(keys, block_) * head_dim);
    s.d_o = elements(padded);
    if (transposes) s.do_transposed = elements(padded);
    s.dk = floats(all);
    s.dv = floats(all);
    s.dq_transposed = floats(padded);
    s.delta = floats(padded_);
    s.d_p = floats(scores);
  }
  if constexpr (kIsBf16<Element>) {
    s.p = elements(scores);
    if (!is_forward) s.d_s = elements(scores);
  } else {
    s.p = s.scores;
    s.d_s = s.d_p;
  }
  s.product = reinterpret_cast<void*>(at);
  return s;
}

}  // namespace levanter::cpu

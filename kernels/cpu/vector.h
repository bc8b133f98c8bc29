// The table of hand-written vector kernels, one for each level of the x86-64 instruction set,
// or the only one of another processor.
//
// All work on f32 spans in memory and use only additions, multiplications, divisions, square roots
// and our own polynomials, never fused multiply-add, so that every table gives the same bits; but
// chain_product, which is fused multiply-adds alone and missing where a table cannot have them.
// Reductions run in 64 interleaved lanes and end in a fixed fold: their bits depend on the length
// only. Spans may start anywhere; a result span is one of the inputs or does not overlap them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "ops/elementwise/opcodes.h"

namespace levanter::cpu {

/// Elementwise functions of one operand besides the opcodes of `map`, whose rows say how exact they
/// are: sigmoid is 0 where its value is below 1e-38.
enum class UnaryOp : size_t {
  kGeluTanh = kMapOpcodes,
  kGeluErf,
  kRoundBf16,  ///< to the nearest bf16, ties to even
};
inline constexpr size_t kUnaryOps = kMapOpcodes + 3;

/// And of two: gelu's gradients from gelu's input,
///   kGeluTanhGrad(dy, x) = dy * d gelu_tanh(x) / dx, kGeluErfGrad likewise
enum class BinaryOp : size_t {
  kGeluTanhGrad = kMapOpcodes,
  kGeluErfGrad,
};
inline constexpr size_t kBinaryOps = kMapOpcodes + 2;

/// Where the random bits of a span come from: element i takes the Threefry-2x32 block of counter
/// `counter` + i under `key`, the two words combined by exclusive or, as JAX's partitionable arrays
/// do.
struct RandomSpan {
  uint32_t key_hi = 0, key_lo = 0;
  uint64_t counter = 0;
};

/// A tile of attention scores: `keys` rows of `queries` columns without gaps, queries a multiple of
/// 16. What the row kernels need to know of it:
struct ScoreTile {
  int64_t keys = 0, queries = 0;
  float scale = 1;     ///< of the products q.k
  float soft_cap = 0;  ///< 0 for none; else x = soft_cap tanh(scale q.k / soft_cap)
  /// Column c sees the rows r with diagonal - window < r - c <= diagonal.
  int64_t diagonal = INT32_MAX, window = int64_t{INT32_MAX} * 2;
  /// [keys] and [queries], or nullptr: of these, column c sees those of its own segment only.
  const int32_t *key_segments = nullptr, *query_segments = nullptr;
  /// Below 1: the element is kept where uniform < keep, of the counter random.counter + r +
  /// c * counters.
  float keep = 1;
  RandomSpan random = {};
  uint32_t counters = 0;
};

/// Whether a norm subtracts the mean.
enum class Centre : bool { kNo, kYes };

/// Constants of one AdamW step; see VectorKernels::adamw.
struct AdamwConstants {
  float learning_rate, beta1, beta2;
  float rest1, rest2;  ///< 1 - beta1 and 1 - beta2, rounded once
  float epsilon, weight_decay;
  float correction1, correction2;  ///< 1 - beta1^t and 1 - beta2^t
  float grad_scale;                ///< from clipping; 1 for none
};

/// How a matrix [k, columns] lies: its rows, or its columns, without gaps inside.
enum class MatrixOrder { kRows, kColumns };

/// y[r, c] = sum over k of x[r, k] w[k, c], for a few rows x and a matrix w that is read once.
/// Every element is summed on its own, in an order that depends on k only: its bits do not depend
/// on the other rows, nor on how columns are shared among calls.
struct SmallMProduct {
  int64_t rows = 0, columns = 0, k = 0;
  const float* x = nullptr;
  int64_t x_row = 0;
  const void* w = nullptr;  ///< f32 or bf16
  int64_t w_stride = 0;     ///< between rows, or columns, of w
  float* y = nullptr;
  int64_t y_row = 0;
};

/// C[r, c] = the sum over k of A[r, k] B[k, c], f32, rows without gaps inside: each sum is one
/// chain of fused multiply-adds from 0 in the order of k. So its bits do not depend on what else is
/// multiplied, nor on where the factors lie.
struct ChainProduct {
  int64_t rows = 0, columns = 0, k = 0;
  const float* a = nullptr;
  int64_t a_row = 0;
  const float* b = nullptr;
  int64_t b_row = 0;
  float* c = nullptr;
  int64_t c_row = 0;
};

/// C[r, c] = the sum over k of A[r, k] B[k, c], A and B of bf16, C of f32: each sum is one chain of
/// VDPBF16PS over pairs of k in order, the last one filled up with 0, from 0 or what C holds. So
/// its bits do not depend on what else is multiplied, nor on where the factors lie.
struct PairProduct {
  int64_t rows = 0, columns = 0, k = 0;
  const uint16_t* a = nullptr;  ///< packed, or rows without gaps inside
  int64_t a_row = 0;            ///< between rows; 0 for a packed A
  const uint16_t* b = nullptr;  ///< packed; PanelPacking says how
  float* c = nullptr;
  int64_t c_row = 0;
  bool continues = false;  ///< chains begin with what C holds, not with 0
};

/// A's rows or B's columns.
enum class FactorSide { kA, kB };

/// A factor of a bf16 product to be laid out for products by AMX tiles or pairs: panels
/// [begin, end), each of 32 rows of A or columns of B with all of k. The factor, of `extent` rows
/// or columns, counts as a matrix [k, extent], of either MatrixOrder. What a panel lacks at the end
/// of k or of the extent becomes 0.
///   step s of panel i     to + (i * ceil(k / 32) + s) * 1024: two tiles of 16 rows or columns
///   a tile                16 x 16 pairs of k, at [row][pair] of A and [pair][column] of B
struct PanelPacking {
  FactorSide side = FactorSide::kA;
  int64_t extent = 0, k = 0;
  const void* from = nullptr;
  int64_t stride = 0;  ///< between rows, or columns, of `from`
  void* to = nullptr;  ///< bf16, a multiple of 64
  int64_t begin = 0, end = 0;
};

/// What becomes of a row of logits; see VectorKernels::cross_entropy.
struct CrossEntropyRow {
  int64_t target = 0;
  float scale = 1, z_loss = 0, soft_cap = 0;
  bool gradient = false;
};

struct VectorKernels {
  using Unary = void (*)(float* y, const float* a, int64_t n);
  /// A step is 1 for a span and 0 for one value used for all elements.
  using Binary = void (*)(float* y, const float* a, int64_t a_step, const float* b, int64_t b_step,
                          int64_t n);

  const char* isa;  ///< "v2", "v3" or "v4" of x86-64, else "plain"
  /// By Map and UnaryOp, or Map and BinaryOp; null for an opcode of another number of operands.
  /// One without a vector kernel is computed an element at a time, as its row says.
  Unary unary[kUnaryOps];
  Binary binary[kBinaryOps];
  /// y[i] = c[i] is true ? a[i] : b[i]
  void (*select)(float* y, const float* c, int64_t c_step, const float* a, int64_t a_step,
                 const float* b, int64_t b_step, int64_t n);

  /// bf16 as f32, and f32 rounded to bf16 as base/bf16.h does; the spans do not overlap.
  void (*widen)(float* y, const uint16_t* a, int64_t n);
  void (*narrow)(uint16_t* y, const float* a, int64_t n);
  /// int8 as f32.
  void (*widen_int8)(float* y, const int8_t* a, int64_t n);

  /// y[r, c] = a[r, c] for rows x width, whose rows lie y_row and a_row elements apart and do not
  /// overlap; narrow_rows rounds to bf16.
  void (*copy_rows)(float* y, int64_t y_row, const float* a, int64_t a_row, int64_t rows,
                    int64_t width);
  void (*copy_rows_bf16)(uint16_t* y, int64_t y_row, const uint16_t* a, int64_t a_row, int64_t rows,
                         int64_t width);
  void (*narrow_rows)(uint16_t* y, int64_t y_row, const float* a, int64_t a_row, int64_t rows,
                      int64_t width);
  /// y[r] = sum over c of a[r, c] b[r, c], of f32 or bf16, with the bits of `dot`; b's rows may lie
  /// far away, and are asked for ahead.
  void (*dot_rows)(float* y, const float* a, int64_t a_row, const float* b, int64_t b_row,
                   int64_t rows, int64_t width);
  void (*dot_rows_bf16)(float* y, const uint16_t* a, int64_t a_row, const uint16_t* b,
                        int64_t b_row, int64_t rows, int64_t width);

  float (*sum)(const float* a, int64_t n);
  float (*sum_squares)(const float* a, int64_t n);
  float (*max)(const float* a, int64_t n);  ///< NaN where an element is; -inf for n = 0
  float (*dot)(const float* a, const float* b, int64_t n);
  void (*add_to)(float* y, const float* a, int64_t n);               ///< y += a
  void (*scale)(float* y, const float* a, float factor, int64_t n);  ///< y = factor * a

  /// y[r, c] = (x[r, c] - mean[r]) * rstd[r] * weight[c] + bias[c], with mean[r] the mean of row r
  /// and rstd[r] = 1 / sqrt(mean of (x - mean)^2 + epsilon). `weight` and `bias` may be nullptr; y
  /// may be x. Without centre the mean counts as 0, as in RMS norm.
  void (*layer_norm)(float* y, float* mean, float* rstd, const float* x, const float* weight,
                     const float* bias, int64_t rows, int64_t width, float epsilon, Centre centre);
  /// With h = (x - mean) rstd and g = dy weight: dx = rstd (g - mean(g) - h mean(g h)), row by row;
  /// without centre mean(g) counts as 0.
  void (*layer_norm_backward)(float* dx, const float* dy, const float* x, const float* mean,
                              const float* rstd, const float* weight, int64_t rows, int64_t width,
                              Centre centre);
  /// Adds rows, in order, to a block's sums: dy (x - mean) rstd to dweight[c] and dy to dbias[c];
  /// `dbias` may be nullptr. The blocks' results are added by sum_rows.
  void (*layer_norm_weight_block)(float* dweight, float* dbias, const float* dy, const float* x,
                                  const float* mean, const float* rstd, int64_t rows,
                                  int64_t width);
  /// y[c] = sum over rows, in row order, of a[r * stride + c], for c in [0, width).
  void (*sum_rows)(float* y, const float* a, int64_t stride, int64_t rows, int64_t width);
  /// The same with the rows added to what y holds.
  void (*add_rows)(float* y, const float* a, int64_t stride, int64_t rows, int64_t width);

  /// Over a tile of products q.k in s, which it uses up: with x the score and m[c] the largest that
  /// column c sees, p = exp(x - m[c]) where the element is seen and kept, 0 elsewhere. norm[c] is
  /// 1 / (keep * the sum of exp(x - m[c]) over what column c sees) and lse[c] = m[c] + log of that
  /// sum; 0 and -inf where column c sees nothing. p may be s; in the second form it is bf16.
  void (*attention_softmax)(float* p, float* s, float* norm, float* lse, const ScoreTile& tile);
  void (*attention_softmax_bf16)(uint16_t* p, float* s, float* norm, float* lse,
                                 const ScoreTile& tile);
  /// Over such a tile, which it uses up: the entropy of column c's probabilities, log of the sum of
  /// exp(x - m[c]) minus the mean of x - m[c] under them, and m[c]; NaN and -inf where it sees
  /// nothing.
  void (*attention_statistics)(float* entropy, float* largest, float* s, const ScoreTile& tile);
  /// Over a tile of products q.k in s and of do.v in dp: with p' = exp(x - lse[c]) where the
  /// element is seen and 0 elsewhere, kept = 1 or 0 and dx/d(scale q.k) the slope of the cap,
  ///   p = kept p',  ds = p' (kept / keep * dp - delta[c]) slope, 0 where p' is 1
  /// A column of lse = inf has p = 0. p may be s and ds dp; in the second form they are bf16.
  void (*attention_backward)(float* p, float* ds, const float* s, const float* dp, const float* lse,
                             const float* delta, const ScoreTile& tile);
  void (*attention_backward_bf16)(uint16_t* p, uint16_t* ds, const float* s, const float* dp,
                                  const float* lse, const float* delta, const ScoreTile& tile);
  /// to[c, r] = from[r, c] * factor[c] for rows x columns of `from`, rows to_stride and from_stride
  /// apart; `factor` may be nullptr.
  void (*transpose)(float* to, int64_t to_stride, const float* from, int64_t from_stride,
                    int64_t rows, int64_t columns, const float* factor);

  /// Cross entropy of one row of products h.w, whose logits are x = soft_cap tanh(h.w / soft_cap),
  /// or h.w itself for soft_cap = 0. Returns lse = log(sum exp(x)), and the loss lse - x[target] in
  /// `loss`; with `gradient` uses the row up and writes to `dlogits`, which may be `logits`,
  ///   (softmax - onehot(target) + 2 z_loss lse softmax) * scale * dx/d(h.w)
  /// in the second form as bf16.
  float (*cross_entropy)(float* dlogits, float* logits, int64_t n, const CrossEntropyRow& row,
                         float* loss);
  float (*cross_entropy_bf16)(uint16_t* dlogits, float* logits, int64_t n,
                              const CrossEntropyRow& row, float* loss);

  /// With g = grad_scale * grad:
  ///   m = beta1 m + (1 - beta1) g,  v = beta2 v + (1 - beta2) g^2
  ///   p -= learning_rate ((m / correction1) / (sqrt(v / correction2) + epsilon) + weight_decay p)
  void (*adamw)(float* p, float* m, float* v, const float* grad, int64_t n,
                const AdamwConstants& constants);

  void (*random_bits)(uint32_t* y, int64_t n, const RandomSpan& random);
  /// Uniform numbers in [0, 1): the upper 23 bits.
  void (*random_uniform)(float* y, int64_t n, const RandomSpan& random);
  /// y[i] = uniform[i] < keep ? a[i] / keep : 0
  void (*dropout)(float* y, const float* a, int64_t n, float keep, const RandomSpan& random);

  /// By MatrixOrder; w is f32 in the first form and bf16 in the second.
  void (*small_m[2])(const SmallMProduct& product);
  void (*small_m_bf16[2])(const SmallMProduct& product);

  /// Null but with AVX-512. Quick where B stays in the second-level cache.
  void (*chain_product)(const ChainProduct& product);
  /// For processors with AVX512_BF16 alone; null below AVX-512.
  void (*pair_product)(const PairProduct& product);

  /// y[c * y_row + r] = x[r * x_row + c], elements of 2 or 4 bytes.
  void (*transpose_2)(uint16_t* y, int64_t y_row, const uint16_t* x, int64_t x_row, int64_t rows,
                      int64_t columns);
  void (*transpose_4)(uint32_t* y, int64_t y_row, const uint32_t* x, int64_t x_row, int64_t rows,
                      int64_t columns);

  /// By MatrixOrder.
  void (*pack_panels[2])(const PanelPacking& packing);
};

/// The table for this machine's best level, or for the one that the environment variable
/// LEVANTER_VECTOR_ISA names ("v2", "v3", "v4"), if the machine has it; chosen once.
const VectorKernels& vector_kernels();

/// All tables that this machine can run, the lowest level first.
std::span<const VectorKernels* const> runnable_vector_kernels();

}  // namespace levanter::cpu

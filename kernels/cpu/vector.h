// The table of hand-written vector kernels, one for each level of the x86-64 instruction set.
//
// All work on f32 spans in memory and use only additions, multiplications, divisions, square roots
// and our own polynomials, never fused multiply-add, so that every table gives the same bits.
// Reductions run in 64 interleaved lanes and end in a fixed fold: their bits depend on the length
// only. Spans may start anywhere; a result span is one of the inputs or does not overlap them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace levanter::cpu {

/// Elementwise functions of one operand. Truth is 1 for true and 0 for false, and any other value
/// but 0 reads as true. Largest errors, in units in the last place, over all finite operands:
///   exp 1.5, log 1.5, tanh 2.5, sigmoid 3 (0 where the value is below 1e-38), erf 2, log1p, sin
///   and cos as in the C library; the others are correctly rounded, rsqrt twice (1 / sqrt)
enum class UnaryOp {
  kNeg,
  kAbs,
  kExp,
  kLog,
  kLog1p,
  kSqrt,
  kRsqrt,
  kRcp,
  kTanh,
  kSigmoid,
  kErf,
  kSin,
  kCos,
  kNot,
  kIsFinite,
  kCopy,
  kGeluTanh,
  kGeluErf,
};
inline constexpr size_t kUnaryOps = 18;

/// Elementwise functions of two operands. Maximum and minimum are NaN where either operand is; pow
/// is the C library's. The last two are gelu's gradients from gelu's input:
///   kGeluTanhGrad(dy, x) = dy * d gelu_tanh(x) / dx, kGeluErfGrad alike
enum class BinaryOp {
  kAdd,
  kSub,
  kMul,
  kDiv,
  kMax,
  kMin,
  kPow,
  kLess,
  kLessEqual,
  kEqual,
  kAnd,
  kOr,
  kGeluTanhGrad,
  kGeluErfGrad,
};
inline constexpr size_t kBinaryOps = 14;

/// Where the random bits of a span come from: element i takes the Threefry-2x32 block of counter
/// `counter` + i under `key`, the two words combined by exclusive or, as JAX's partitionable arrays
/// do.
struct RandomSpan {
  uint32_t key_hi = 0, key_lo = 0;
  uint64_t counter = 0;
};

/// Which keys a query may attend to: those below `limit`, and of the query's own segment where
/// segments are given.
struct KeyMask {
  int64_t limit = 0;
  const int32_t* key_segments = nullptr;  ///< [keys], or nullptr for no segments
  int32_t segment = 0;                    ///< the query's
};

/// Constants of one AdamW step; see VectorKernels::adamw.
struct AdamwConstants {
  float learning_rate, beta1, beta2;
  float rest1, rest2;  ///< 1 - beta1 and 1 - beta2, rounded once
  float epsilon, weight_decay;
  float correction1, correction2;  ///< 1 - beta1^t and 1 - beta2^t
  float grad_scale;                ///< from clipping; 1 for none
};

struct VectorKernels {
  using Unary = void (*)(float* y, const float* a, int64_t n);
  /// A step is 1 for a span and 0 for one value used for all elements.
  using Binary = void (*)(float* y, const float* a, int64_t a_step, const float* b, int64_t b_step,
                          int64_t n);

  const char* isa;            ///< "v2", "v3" or "v4" of x86-64
  Unary unary[kUnaryOps];     ///< by UnaryOp
  Binary binary[kBinaryOps];  ///< by BinaryOp
  /// y[i] = c[i] is true ? a[i] : b[i]
  void (*select)(float* y, const float* c, int64_t c_step, const float* a, int64_t a_step,
                 const float* b, int64_t b_step, int64_t n);

  float (*sum)(const float* a, int64_t n);
  float (*sum_squares)(const float* a, int64_t n);
  float (*max)(const float* a, int64_t n);  ///< NaN where an element is; -inf for n = 0
  float (*dot)(const float* a, const float* b, int64_t n);
  void (*add_to)(float* y, const float* a, int64_t n);               ///< y += a
  void (*scale)(float* y, const float* a, float factor, int64_t n);  ///< y = factor * a

  /// y[r, c] = (x[r, c] - mean[r]) * rstd[r] * weight[c] + bias[c], with mean[r] the mean of row r
  /// and rstd[r] = 1 / sqrt(mean of (x - mean)^2 + epsilon). `weight` and `bias` may be nullptr; y
  /// may be x.
  void (*layer_norm)(float* y, float* mean, float* rstd, const float* x, const float* weight,
                     const float* bias, int64_t rows, int64_t width, float epsilon);
  /// With h = (x - mean) rstd and g = dy weight: dx = rstd (g - mean(g) - h mean(g h)), row by row.
  void (*layer_norm_backward)(float* dx, const float* dy, const float* x, const float* mean,
                              const float* rstd, const float* weight, int64_t rows, int64_t width);
  /// Sums over one block of rows, in row order: dweight[c] = sum of dy (x - mean) rstd and dbias[c]
  /// = sum of dy; `dbias` may be nullptr. The blocks' results are added by sum_rows.
  void (*layer_norm_weight_block)(float* dweight, float* dbias, const float* dy, const float* x,
                                  const float* mean, const float* rstd, int64_t rows,
                                  int64_t width);
  /// y[c] = sum over rows, in row order, of a[r * stride + c], for c in [0, width).
  void (*sum_rows)(float* y, const float* a, int64_t stride, int64_t rows, int64_t width);

  /// In place over one row of n >= mask.limit scores: s = softmax(scale * s) over the keys of the
  /// mask, 0 elsewhere. Returns the logarithm of the sum of exp(scale * s), -inf where no key is
  /// allowed.
  float (*attention_softmax)(float* s, int64_t n, float scale, const KeyMask& mask);
  /// In place over one row of n scores: s = exp(scale * s - lse) over the keys of the mask, 0
  /// elsewhere.
  void (*attention_recompute)(float* s, int64_t n, float scale, float lse, const KeyMask& mask);
  /// ds[i] = p[i] * (dp[i] - d) * scale; ds may be dp.
  void (*attention_backward)(float* ds, const float* p, const float* dp, float d, float scale,
                             int64_t n);

  /// Cross entropy of one row of logits. Returns lse = log(sum exp(logits)), and the loss lse -
  /// logits[target] in `loss`; with `gradient` turns the row into (softmax - onehot(target)) *
  /// scale.
  float (*cross_entropy)(float* logits, int64_t n, int64_t target, float scale, bool gradient,
                         float* loss);

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

  /// y[c * y_row + r] = x[r * x_row + c], elements of 2 or 4 bytes.
  void (*transpose_2)(uint16_t* y, int64_t y_row, const uint16_t* x, int64_t x_row, int64_t rows,
                      int64_t columns);
  void (*transpose_4)(uint32_t* y, int64_t y_row, const uint32_t* x, int64_t x_row, int64_t rows,
                      int64_t columns);
};

/// The table for this machine's best level, or for the one that the environment variable
/// LEVANTER_VECTOR_ISA names ("v2", "v3", "v4"), if the machine has it; chosen once.
const VectorKernels& vector_kernels();

/// All tables that this machine can run, the lowest level first.
std::span<const VectorKernels* const> runnable_vector_kernels();

}  // namespace levanter::cpu

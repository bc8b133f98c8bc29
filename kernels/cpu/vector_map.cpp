// Elementwise kernels, and the table of this instruction set.
#include <math.h>
#include <string.h>

#include "kernels/cpu/vector_math.h"
#include "kernels/cpu/vector_parts.h"

namespace levanter::cpu::LEVANTER_ISA {
namespace {

[[gnu::always_inline]] inline Floats truth(Ints mask) {
  return select(mask, splat(1.0f), splat(0.0f));
}
[[gnu::always_inline]] inline Ints is_true(Floats a) { return a != splat(0.0f); }

struct Neg {
  static Floats of(Floats a) { return from_bits(bits(a) ^ splat(INT32_MIN)); }
};
struct Abs {
  static Floats of(Floats a) { return absolute(a); }
};
struct Exp {
  static Floats of(Floats a) { return exp(a); }
};
struct Log {
  static Floats of(Floats a) { return log(a); }
};
struct Sqrt {
  static Floats of(Floats a) { return root(a); }
};
struct Rsqrt {
  static Floats of(Floats a) { return splat(1.0f) / root(a); }
};
struct Rcp {
  static Floats of(Floats a) { return splat(1.0f) / a; }
};
struct Tanh {
  static Floats of(Floats a) { return tanh(a); }
};
struct Sigmoid {
  static Floats of(Floats a) { return sigmoid(a); }
};
struct Erf {
  static Floats of(Floats a) { return erf(a); }
};
struct Not {
  static Floats of(Floats a) { return truth(a == splat(0.0f)); }
};
struct IsFinite {
  static Floats of(Floats a) { return truth(absolute(a) < splat(__builtin_inff())); }
};
struct GeluTanh {
  static Floats of(Floats a) { return gelu_tanh(a); }
};
struct GeluErf {
  static Floats of(Floats a) { return gelu_erf(a); }
};

struct RoundBf16 {
  static Floats of(Floats a) { return from_bits(bf16_bits(a) << 16); }
};

template <class Op>
void unary(float* y, const float* a, int64_t n) {
  for_vectors(n, [=](int64_t i, int64_t count) {
    store_up_to(y + i, Op::of(load_up_to(a + i, count)), count);
  });
}

template <float (*function)(float)>
void unary_scalar(float* y, const float* a, int64_t n) {
  for (int64_t i = 0; i < n; ++i) y[i] = function(a[i]);
}

void copy(float* y, const float* a, int64_t n) {
  memmove(y, a, sizeof(float) * static_cast<size_t>(n));
}

struct Add {
  static Floats of(Floats a, Floats b) { return a + b; }
};
struct Sub {
  static Floats of(Floats a, Floats b) { return a - b; }
};
struct Mul {
  static Floats of(Floats a, Floats b) { return a * b; }
};
struct Div {
  static Floats of(Floats a, Floats b) { return a / b; }
};
struct Max {  // larger(a, b) is b where one is NaN, so only a's NaN must be put back
  static Floats of(Floats a, Floats b) { return select(a != a, a, larger(a, b)); }
};
struct Min {
  static Floats of(Floats a, Floats b) { return select(a != a, a, smaller(a, b)); }
};
struct Less {
  static Floats of(Floats a, Floats b) { return truth(a < b); }
};
struct LessEqual {
  static Floats of(Floats a, Floats b) { return truth(a <= b); }
};
struct Equal {
  static Floats of(Floats a, Floats b) { return truth(a == b); }
};
struct And {
  static Floats of(Floats a, Floats b) { return truth(is_true(a) & is_true(b)); }
};
struct Or {
  static Floats of(Floats a, Floats b) { return truth(is_true(a) | is_true(b)); }
};
struct GeluTanhGrad {
  static Floats of(Floats dy, Floats x) { return dy * gelu_tanh_slope(x); }
};
struct GeluErfGrad {
  static Floats of(Floats dy, Floats x) { return dy * gelu_erf_slope(x); }
};

template <class Op>
void binary(float* y, const float* a, int64_t a_step, const float* b, int64_t b_step, int64_t n) {
  if (n == 0) return;
  if (a_step != 0 && b_step != 0) {
    for_vectors(n, [=](int64_t i, int64_t count) {
      store_up_to(y + i, Op::of(load_up_to(a + i, count), load_up_to(b + i, count)), count);
    });
  } else if (a_step != 0) {
    const Floats right = splat(*b);
    for_vectors(n, [=](int64_t i, int64_t count) {
      store_up_to(y + i, Op::of(load_up_to(a + i, count), right), count);
    });
  } else {
    const Floats left = splat(*a);
    const Floats same = splat(*b);
    for_vectors(n, [=](int64_t i, int64_t count) {
      store_up_to(y + i, Op::of(left, b_step != 0 ? load_up_to(b + i, count) : same), count);
    });
  }
}

void power(float* y, const float* a, int64_t a_step, const float* b, int64_t b_step, int64_t n) {
  for (int64_t i = 0; i < n; ++i) y[i] = ::powf(a[i * a_step], b[i * b_step]);
}

void select_spans(float* y, const float* c, int64_t c_step, const float* a, int64_t a_step,
                  const float* b, int64_t b_step, int64_t n) {
  if (n == 0) return;
  const Floats same_c = splat(*c), same_a = splat(*a), same_b = splat(*b);
  for_vectors(n, [=](int64_t i, int64_t count) {
    const Floats condition = c_step != 0 ? load_up_to(c + i, count) : same_c;
    const Floats left = a_step != 0 ? load_up_to(a + i, count) : same_a;
    const Floats right = b_step != 0 ? load_up_to(b + i, count) : same_b;
    store_up_to(y + i, select(is_true(condition), left, right), count);
  });
}

}  // namespace

void fill_map(VectorKernels& table) {
  const VectorKernels::Unary in_order[kUnaryOps] = {unary<Neg>,
                                                    unary<Abs>,
                                                    unary<Exp>,
                                                    unary<Log>,
                                                    unary_scalar<::log1pf>,
                                                    unary<Sqrt>,
                                                    unary<Rsqrt>,
                                                    unary<Rcp>,
                                                    unary<Tanh>,
                                                    unary<Sigmoid>,
                                                    unary<Erf>,
                                                    unary_scalar<::sinf>,
                                                    unary_scalar<::cosf>,
                                                    unary<Not>,
                                                    unary<IsFinite>,
                                                    copy,
                                                    unary<GeluTanh>,
                                                    unary<GeluErf>,
                                                    unary<RoundBf16>};
  const VectorKernels::Binary pairs_in_order[kBinaryOps] = {
      binary<Add>, binary<Sub>, binary<Mul>,          binary<Div>,        binary<Max>,
      binary<Min>, power,       binary<Less>,         binary<LessEqual>,  binary<Equal>,
      binary<And>, binary<Or>,  binary<GeluTanhGrad>, binary<GeluErfGrad>};
  memcpy(table.unary, in_order, sizeof in_order);
  memcpy(table.binary, pairs_in_order, sizeof pairs_in_order);
  table.select = select_spans;
}

void fill_table(VectorKernels& table) {
  fill_map(table);
  fill_bf16(table);
  fill_few_rows(table);
  fill_reduce(table);
  fill_norm(table);
  fill_softmax(table);
  fill_random(table);
  fill_transpose(table);
}

}  // namespace levanter::cpu::LEVANTER_ISA

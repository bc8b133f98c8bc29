// Elementwise kernels, and the table of this instruction set.
// Plain twin: kernels/reference/map.cpp.
#include "kernels/cpu/vector_math.h"
#include "kernels/cpu/vector_parts.h"

namespace levanter::cpu::LEVANTER_ISA {
namespace {

[[gnu::always_inline]] inline Floats truth(Ints mask) {
  return select(mask, splat(1.0f), splat(0.0f));
}
[[gnu::always_inline]] inline Ints is_true(Floats a) { return a != splat(0.0f); }

template <auto function>
void unary(float* y, const float* a, int64_t n) {
  for_vectors(n, [=](int64_t i, int64_t count) {
    store_up_to(y + i, function(load_up_to(a + i, count)), count);
  });
}

template <auto function>
void binary(float* y, const float* a, int64_t a_step, const float* b, int64_t b_step, int64_t n) {
  if (n == 0) return;
  if (a_step != 0 && b_step != 0) {
    for_vectors(n, [=](int64_t i, int64_t count) {
      store_up_to(y + i, function(load_up_to(a + i, count), load_up_to(b + i, count)), count);
    });
  } else if (a_step != 0) {
    const Floats right = splat(*b);
    for_vectors(n, [=](int64_t i, int64_t count) {
      store_up_to(y + i, function(load_up_to(a + i, count), right), count);
    });
  } else {
    const Floats left = splat(*a);
    const Floats same = splat(*b);
    for_vectors(n, [=](int64_t i, int64_t count) {
      store_up_to(y + i, function(left, b_step != 0 ? load_up_to(b + i, count) : same), count);
    });
  }
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

/// An opcode's place in a table.
template <class Opcode>
constexpr size_t at(Opcode opcode) {
  return static_cast<size_t>(opcode);
}

void fill_unary(VectorKernels::Unary* by) {
  by[at(Map::kNeg)] = unary<[](Floats a) { return from_bits(bits(a) ^ splat(INT32_MIN)); }>;
  by[at(Map::kAbs)] = unary<[](Floats a) { return absolute(a); }>;
  by[at(Map::kExp)] = unary<[](Floats a) { return exp(a); }>;
  by[at(Map::kLog)] = unary<[](Floats a) { return log(a); }>;
  by[at(Map::kSqrt)] = unary<[](Floats a) { return root(a); }>;
  by[at(Map::kRsqrt)] = unary<[](Floats a) { return splat(1.0f) / root(a); }>;
  by[at(Map::kRcp)] = unary<[](Floats a) { return splat(1.0f) / a; }>;
  by[at(Map::kTanh)] = unary<[](Floats a) { return tanh(a); }>;
  by[at(Map::kSigmoid)] = unary<[](Floats a) { return sigmoid(a); }>;
  by[at(Map::kErf)] = unary<[](Floats a) { return erf(a); }>;
  by[at(Map::kNot)] = unary<[](Floats a) { return truth(a == splat(0.0f)); }>;
  by[at(Map::kIsFinite)] =
      unary<[](Floats a) { return truth(absolute(a) < splat(__builtin_inff())); }>;
  by[at(UnaryOp::kGeluTanh)] = unary<[](Floats a) { return gelu_tanh(a); }>;
  by[at(UnaryOp::kGeluErf)] = unary<[](Floats a) { return gelu_erf(a); }>;
  by[at(UnaryOp::kRoundBf16)] = unary<[](Floats a) { return from_bits(bf16_bits(a) << 16); }>;
}

void fill_binary(VectorKernels::Binary* by) {
  by[at(Map::kAdd)] = binary<[](Floats a, Floats b) { return a + b; }>;
  by[at(Map::kSub)] = binary<[](Floats a, Floats b) { return a - b; }>;
  by[at(Map::kMul)] = binary<[](Floats a, Floats b) { return a * b; }>;
  by[at(Map::kDiv)] = binary<[](Floats a, Floats b) { return a / b; }>;
  // larger(a, b) is b where one is NaN, so only a's NaN must be put back.
  by[at(Map::kMax)] = binary<[](Floats a, Floats b) { return select(a != a, a, larger(a, b)); }>;
  by[at(Map::kMin)] = binary<[](Floats a, Floats b) { return select(a != a, a, smaller(a, b)); }>;
  by[at(Map::kLess)] = binary<[](Floats a, Floats b) { return truth(a < b); }>;
  by[at(Map::kLessEqual)] = binary<[](Floats a, Floats b) { return truth(a <= b); }>;
  by[at(Map::kEqual)] = binary<[](Floats a, Floats b) { return truth(a == b); }>;
  by[at(Map::kAnd)] = binary<[](Floats a, Floats b) { return truth(is_true(a) & is_true(b)); }>;
  by[at(Map::kOr)] = binary<[](Floats a, Floats b) { return truth(is_true(a) | is_true(b)); }>;
  by[at(BinaryOp::kGeluTanhGrad)] =
      binary<[](Floats dy, Floats x) { return dy * gelu_tanh_slope(x); }>;
  by[at(BinaryOp::kGeluErfGrad)] =
      binary<[](Floats dy, Floats x) { return dy * gelu_erf_slope(x); }>;
}

}  // namespace

void fill_map(VectorKernels& table) {
  fill_unary(table.unary);
  fill_binary(table.binary);
  table.select = select_spans;
}

void fill_table(VectorKernels& table) {
  fill_map(table);
  fill_bf16(table);
  fill_small_m(table);
  fill_product(table);
  fill_pairs(table);
  fill_reduce(table);
  fill_norm(table);
  fill_softmax(table);
  fill_random(table);
  fill_rows(table);
  fill_transpose(table);
}

}  // namespace levanter::cpu::LEVANTER_ISA

// Between bf16 or int8 in memory and f32.
// Plain twin: kernels/reference/cast.cpp.
#include "kernels/cpu/vector_parts.h"

namespace levanter::cpu::LEVANTER_ISA {
namespace {

/// From bf16 to f32 or back, rounded.
template <class To, class From>
void convert(To* y, const From* a, int64_t n) {
  for_vectors(
      n, [=](int64_t i, int64_t count) { store_up_to(y + i, load_up_to(a + i, count), count); });
}

void widen_int8(float* y, const int8_t* a, int64_t n) {
  for (int64_t i = 0; i < n; ++i) y[i] = a[i];  // as the compiler makes vectors of it
}

}  // namespace

void fill_bf16(VectorKernels& table) {
  table.widen = convert<float, uint16_t>;
  table.narrow = convert<uint16_t, float>;
  table.widen_int8 = widen_int8;
}

}  // namespace levanter::cpu::LEVANTER_ISA

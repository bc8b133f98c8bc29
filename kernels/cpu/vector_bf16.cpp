// Between bf16 or int8 in memory and f32.
// Plain twin: kernels/reference/cast.cpp.
#include "kernels/cpu/vector_parts.h"

namespace levanter::cpu::LEVANTER_ISA {
namespace {

void widen(float* y, const uint16_t* a, int64_t n) {
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) store(y + i, from_bits(load_halves(a + i) << 16));
  if (i == n) return;
  uint16_t rest[kLanes] = {};
  __builtin_memcpy(rest, a + i, sizeof(uint16_t) * static_cast<size_t>(n - i));
  store_part(y + i, from_bits(load_halves(rest) << 16), n - i);
}

void narrow(uint16_t* y, const float* a, int64_t n) {
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) store_halves(y + i, bf16_bits(load(a + i)));
  if (i == n) return;
  uint16_t rest[kLanes];
  store_halves(rest, bf16_bits(load_part(a + i, n - i)));
  __builtin_memcpy(y + i, rest, sizeof(uint16_t) * static_cast<size_t>(n - i));
}

void widen_int8(float* y, const int8_t* a, int64_t n) {
  for (int64_t i = 0; i < n; ++i) y[i] = a[i];  // as the compiler makes vectors of it
}

}  // namespace

void fill_bf16(VectorKernels& table) {
  table.widen = widen;
  table.narrow = narrow;
  table.widen_int8 = widen_int8;
}

}  // namespace levanter::cpu::LEVANTER_ISA

// Chooses among the tables of vector kernels by what the processor can do.
#include "kernels/cpu/vector.h"

#include <cstdlib>
#include <string_view>

#include "base/processor.h"
#include "ops/elementwise/value.h"

namespace levanter::cpu {

#if defined(__x86_64__)
namespace v2 {
void fill_table(VectorKernels& table);
}
namespace v3 {
void fill_table(VectorKernels& table);
}
namespace v4 {
void fill_table(VectorKernels& table);
}
#else
namespace plain {
void fill_table(VectorKernels& table);
}
#endif

namespace {

template <Map opcode>
void unary_by_element(float* y, const float* a, int64_t n) {
  for (int64_t i = 0; i < n; ++i) y[i] = map_value(opcode, a[i]);
}

template <Map opcode>
void binary_by_element(float* y, const float* a, int64_t a_step, const float* b, int64_t b_step,
                       int64_t n) {
  for (int64_t i = 0; i < n; ++i) y[i] = map_value(opcode, a[i * a_step], b[i * b_step]);
}

/// Fills the places that opcodes from `code` on have left empty.
template <size_t code = 0>
void complete(VectorKernels& table) {
  if constexpr (code < kMapOpcodes) {
    constexpr auto opcode = static_cast<Map>(code);
    if constexpr (arity(opcode) == 1)
      if (!table.unary[code]) table.unary[code] = unary_by_element<opcode>;
    if constexpr (arity(opcode) == 2)
      if (!table.binary[code]) table.binary[code] = binary_by_element<opcode>;
    complete<code + 1>(table);
  }
}

/// The tables that this machine can run, in order.
struct Tables {
  VectorKernels kernels[3]{};
  const VectorKernels* runnable[3];
  size_t count = 0;
  const VectorKernels* chosen;

  Tables() {
#if defined(__x86_64__)
    add("v2", v2::fill_table);
    if (processor().avx2) add("v3", v3::fill_table);
    if (processor().avx512) add("v4", v4::fill_table);
#else
    add("plain", plain::fill_table);
#endif
    chosen = runnable[count - 1];
    if (const char* wanted = std::getenv("LEVANTER_VECTOR_ISA")) {
      for (size_t i = 0; i < count; ++i) {
        if (std::string_view(runnable[i]->isa) == wanted) chosen = runnable[i];
      }
    }
  }

  void add(const char* isa, void (*fill)(VectorKernels&)) {
    kernels[count].isa = isa;
    fill(kernels[count]);
    complete(kernels[count]);
    runnable[count] = &kernels[count];
    ++count;
  }
};

const Tables& tables() {
  static const Tables all;
  return all;
}

}  // namespace

const VectorKernels& vector_kernels() { return *tables().chosen; }

std::span<const VectorKernels* const> runnable_vector_kernels() {
  return {tables().runnable, tables().count};
}

}  // namespace levanter::cpu

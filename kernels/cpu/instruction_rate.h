// How quick the processor's own instruction of products is, with nothing else beside it.
#pragma once

#include <cstdint>

#include "axes/dtype.h"

namespace levanter::cpu {

/// A loop of an instruction that multiplies and adds numbers, none of them 0, that stay in
/// registers: no program of products is quicker.
struct ProductInstruction {
  const char* name;  ///< "vfmadd zmm"
  double flops;      ///< of one round, a multiplication and an addition each
  /// Runs so many rounds; returns something of their sums.
  float (*run)(int64_t rounds);
};

/// The one with the most operations for factors of this type, f32 or bf16, that this processor has
/// and that we know; nullptr for none.
const ProductInstruction* product_instruction(DType factors);

}  // namespace levanter::cpu

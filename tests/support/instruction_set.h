// What holds on the instruction set that products run on, for tests of what the docs say of it.
#pragma once

#include <string>

#include "kernels/cpu/onednn.h"

namespace levanter::testing {

/// Whether a row of a product of f32 has the same bits whatever the rows beside it: with AVX-512
/// (docs/determinism.md).
inline bool rows_keep_their_bits() {
  constexpr unsigned long kAvx512 = 0x20;
  return std::stoul(cpu::onednn_isa(), nullptr, 16) & kAvx512;
}

/// How often a term of an f32 product is rounded: where multiplying and adding are one instruction
/// once, below AVX2 twice.
inline double roundings_of_a_term() {
  constexpr unsigned long kAvx2 = 0x4;
  return std::stoul(cpu::onednn_isa(), nullptr, 16) & kAvx2 ? 1 : 2;
}

}  // namespace levanter::testing

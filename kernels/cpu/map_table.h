// The vector table's index of a graph opcode: the two enums are in one order up to kIsFinite and
// from kAdd to kOr.
#pragma once

#include "kernels/cpu/vector.h"
#include "ops/ops.h"

namespace levanter::cpu {

inline size_t unary_index(Map opcode) { return static_cast<size_t>(opcode); }
inline size_t binary_index(Map opcode) {
  return static_cast<size_t>(opcode) - static_cast<size_t>(Map::kAdd);
}
static_assert(static_cast<int>(UnaryOp::kIsFinite) == static_cast<int>(Map::kIsFinite));
static_assert(static_cast<int>(UnaryOp::kExp) == static_cast<int>(Map::kExp));
static_assert(static_cast<int>(BinaryOp::kPow) ==
              static_cast<int>(Map::kPow) - static_cast<int>(Map::kAdd));
static_assert(static_cast<int>(BinaryOp::kOr) ==
              static_cast<int>(Map::kOr) - static_cast<int>(Map::kAdd));

}  // namespace levanter::cpu

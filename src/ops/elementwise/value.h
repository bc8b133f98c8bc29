// What the opcodes of `map` compute, an element at a time: the definition of correct.
#pragma once

#include <cmath>
#include <type_traits>

#include "ops/elementwise/opcodes.h"

namespace levanter {

/// The value of `opcode` for operands of type T, of which those beyond its arity are not looked at;
/// 0 for an opcode of floating operands only where T is an integer. Inline, so that nothing is left
/// of the switch where the opcode is a constant.
template <class T>
[[gnu::always_inline]] inline T map_value(Map opcode, T a, T b = T{0}, T c = T{0}) {
  switch (opcode) {
#define LEVANTER_MAP_ROW(constant, name, arity, types, rule, ulp, value, ...) \
  case Map::constant:                                                         \
    if constexpr (std::is_floating_point_v<T> ||                              \
                  MapRow::Operands::types == MapRow::Operands::kNumbers)      \
      return static_cast<T>(value);                                           \
    break;
#include "ops/elementwise/rows.inc"
#undef LEVANTER_MAP_ROW
  }
  return T{0};
}

}  // namespace levanter

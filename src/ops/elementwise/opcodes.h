// The opcodes of `map`, from their rows.
#pragma once

#include <cstddef>
#include <cstdint>

namespace levanter {

/// The opcodes of `map`. Comparisons and logic give 1 or 0 in the operands' own type; any value
/// but 0 counts as true. The larger and the smaller of two are NaN where either is.
enum class Map : int32_t {
#define LEVANTER_MAP_ROW(constant, ...) constant,
#include "ops/elementwise/rows.inc"
#undef LEVANTER_MAP_ROW
};

/// A row but for its formulas; rows.inc says what the columns are.
struct MapRow {
  enum class Operands { kReals, kNumbers };
  enum class Rule { kNarrow, kWide };
  const char* name;
  int arity;  ///< 1, 2 or 3
  Operands operands;
  Rule rule;
  double ulp;
};

/// By opcode.
inline constexpr MapRow kMapRows[] = {
#define LEVANTER_MAP_ROW(constant, name, arity, operands, rule, ulp, ...) \
  {name, arity, MapRow::Operands::operands, MapRow::Rule::rule, ulp},
#include "ops/elementwise/rows.inc"
#undef LEVANTER_MAP_ROW
};
inline constexpr size_t kMapOpcodes = sizeof kMapRows / sizeof kMapRows[0];

constexpr const MapRow& row_of(Map opcode) { return kMapRows[static_cast<size_t>(opcode)]; }
constexpr int arity(Map opcode) { return row_of(opcode).arity; }
/// "add", "is_finite", ...
constexpr const char* name_of(Map opcode) { return row_of(opcode).name; }

}  // namespace levanter

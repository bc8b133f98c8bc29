// Temporary home of the declarations that belong into ops.h, entries.h and rules.h.
#pragma once
#include "graph/graph.h"
#include "ops/ops.h"
namespace levanter {
namespace ops {
extern const Op eigh_entry;
extern const Op qr_entry;
}
NamedArray qr(Operand x, AxisName row, AxisName column);
struct Eigh {
  NamedArray values, vectors;
};
Eigh eigh(Operand x, AxisName row, AxisName column);
Attributes matrix_attributes(NamedArray x, AxisName row, AxisName column);
Axis require_matrix(const Attributes& attributes, std::span<const Type> operands);
}

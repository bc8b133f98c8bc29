#include "ops/rules.h"

#include "ops/ops.h"

namespace levanter {

NamedArray zero_like(NamedArray x) { return constant(x.graph(), 0, x.dtype()); }

NamedArray sum_to(NamedArray g, const Axes& axes) {
  const Axes extra = without(g.axes(), axes);
  return extra.empty() ? g : sum(g, extra);
}

NamedArray reorder(NamedArray x, const Axes& axes) {
  return x.axes() == axes ? x : transpose(x, axes);
}

void require_floats(std::span<const Type> operands, size_t count) {
  for (size_t i = 0; i < count; ++i)
    if (!is_float(operands[i].dtype) || operands[i].dtype != operands[0].dtype)
      type_error("the operands are not of one floating type");
}

}  // namespace levanter

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

}  // namespace levanter

// Numbers known when the model is traced.
#include "ops/attributes.h"
#include "ops/entries.h"

namespace levanter {

namespace {
std::vector<Type> infer(const Attributes& a, std::span<const Type>) {
  return {LiteralAttributes::of(a).type};
}
}  // namespace

namespace ops {
const Op literal_entry = {
    .name = "literal", .summary = "known numbers along an axis", .infer = infer};
}  // namespace ops

NamedArray literal(Graph& graph, AxisName axis, std::vector<double> values, DType dtype,
                   std::source_location where) {
  const Axes axes = {{axis, static_cast<int64_t>(values.size())}};
  const LiteralAttributes a{{dtype, axes},
                            std::make_shared<const std::vector<double>>(std::move(values))};
  return graph.add(ops::literal_entry, a.pack(), std::vector<Value>{}, where);
}

}  // namespace levanter

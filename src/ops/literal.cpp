// Numbers known when the model is traced. code: the type; axes: the axis; values: the numbers.
#include "ops/ops.h"

namespace levanter {

namespace {
std::vector<Type> infer(const Attributes& a, std::span<const Type>) {
  return {Type{static_cast<DType>(a.code), a.axes}};
}
}  // namespace

namespace ops {
extern const Op literal_entry;
const Op literal_entry = {
    .name = "literal", .summary = "known numbers along an axis", .infer = infer};
}  // namespace ops

NamedArray literal(Graph& graph, AxisName axis, std::vector<double> values, DType dtype,
                   std::source_location where) {
  Attributes a{.code = static_cast<int32_t>(dtype),
               .axes = Axes{{axis, static_cast<int64_t>(values.size())}}};
  a.values = std::make_shared<const std::vector<double>>(std::move(values));
  return graph.add(ops::literal_entry, std::move(a), std::vector<Value>{}, where);
}

}  // namespace levanter

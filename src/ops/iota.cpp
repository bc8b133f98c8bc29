// 0, 1, 2, ... along an axis. code: the type; axes: the axis.
#include "ops/ops.h"

namespace levanter {

namespace {
std::vector<Type> infer(const Attributes& a, std::span<const Type>) {
  return {Type{static_cast<DType>(a.code), a.axes}};
}
}  // namespace

namespace ops {
extern const Op iota_entry;
const Op iota_entry = {.name = "iota", .summary = "0, 1, 2, ... along an axis", .infer = infer};
}  // namespace ops

NamedArray iota(Graph& graph, Axis axis, DType dtype, std::source_location where) {
  return graph.add(ops::iota_entry,
                   Attributes{.code = static_cast<int32_t>(dtype), .axes = Axes{axis}},
                   std::vector<Value>{}, where);
}

}  // namespace levanter

// 0, 1, 2, ... along an axis.
#include "ops/attributes.h"
#include "ops/entries.h"

namespace levanter {

namespace {
std::vector<Type> infer(const Attributes& a, std::span<const Type>) {
  return {IotaAttributes::of(a).type};
}
}  // namespace

namespace ops {
const Op iota_entry = {.name = "iota", .summary = "0, 1, 2, ... along an axis", .infer = infer};
}  // namespace ops

NamedArray iota(Graph& graph, Axis axis, DType dtype, std::source_location where) {
  return graph.add(ops::iota_entry, IotaAttributes{{dtype, Axes{axis}}}.pack(),
                   std::vector<Value>{}, where);
}

}  // namespace levanter

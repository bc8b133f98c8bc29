// An array that the caller of the compiled function supplies. ints[0]: its index.
#include "ops/ops.h"

namespace levanter {

namespace {
std::vector<Type> infer(const Attributes& a, std::span<const Type>) {
  return {Type{static_cast<DType>(a.code), a.axes}};
}
}  // namespace

namespace ops {
extern const Op input_entry;
const Op input_entry = {
    .name = "input", .summary = "an array that the caller supplies", .infer = infer};
}  // namespace ops

NamedArray input(Graph& graph, const Type& type, int64_t index, std::source_location where) {
  Attributes a{.code = static_cast<int32_t>(type.dtype), .axes = type.axes};
  a.ints[0] = index;
  return graph.add(ops::input_entry, a, std::vector<Value>{}, where);
}

}  // namespace levanter

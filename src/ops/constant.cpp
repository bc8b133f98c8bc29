// A scalar known when tracing. code: its type; reals[0]: its value.
#include "base/bf16.h"
#include "ops/ops.h"

namespace levanter {

namespace {
std::vector<Type> infer(const Attributes& a, std::span<const Type>) {
  return {Type{static_cast<DType>(a.code), {}}};
}
}  // namespace

namespace ops {
extern const Op constant_entry;
const Op constant_entry = {
    .name = "constant", .summary = "a scalar known when tracing", .infer = infer};
}  // namespace ops

NamedArray constant(Graph& graph, double value, DType dtype, std::source_location where) {
  Attributes a{.code = static_cast<int32_t>(dtype)};
  a.reals[0] = dtype == DType::bf16 ? double{Bf16(static_cast<float>(value))} : value;
  return graph.add(ops::constant_entry, a, std::vector<Value>{}, where);
}

}  // namespace levanter

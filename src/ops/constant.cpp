// A scalar known when tracing.
#include "base/bf16.h"
#include "ops/attributes.h"
#include "ops/entries.h"

namespace levanter {

namespace {
std::vector<Type> infer(const Attributes& a, std::span<const Type>) {
  return {Type{ConstantAttributes::of(a).dtype, {}}};
}
}  // namespace

namespace ops {
const Op constant_entry = {
    .name = "constant", .summary = "a scalar known when tracing", .infer = infer};
}  // namespace ops

NamedArray constant(Graph& graph, double value, DType dtype, std::source_location where) {
  if (dtype == DType::bf16) value = Bf16(static_cast<float>(value));
  return graph.add(ops::constant_entry, ConstantAttributes{dtype, value}.pack(),
                   std::vector<Value>{}, where);
}

}  // namespace levanter

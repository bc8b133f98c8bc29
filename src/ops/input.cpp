// An array that the caller of the compiled function supplies.
#include "ops/attributes.h"
#include "ops/entries.h"

namespace levanter {

namespace {
std::vector<Type> infer(const Attributes& a, std::span<const Type>) {
  return {InputAttributes::of(a).type};
}
}  // namespace

namespace ops {
const Op input_entry = {
    .name = "input", .summary = "an array that the caller supplies", .infer = infer};
}  // namespace ops

NamedArray input(Graph& graph, const Type& type, int64_t index, std::source_location where) {
  return graph.add(ops::input_entry, InputAttributes{type, index}.pack(), std::vector<Value>{},
                   where);
}

}  // namespace levanter

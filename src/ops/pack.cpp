// A parameter as the factors of products want it: in bf16. Derived data, made again after an
// update.
#include "base/strings.h"
#include "ops/ops.h"
#include "ops/entries.h"

namespace levanter {

namespace {

std::vector<Type> infer(const Attributes&, std::span<const Type> in) {
  if (in[0].dtype != DType::f32) type_error(cat("only f32 is packed, not ", name_of(in[0].dtype)));
  return {Type{DType::bf16, in[0].axes}};
}

void gradient(GradientCall& call) { call.input_cotangents[0] = call.output_cotangents[0]; }

}  // namespace

namespace ops {
const Op pack_entry = {.name = "pack",
                       .summary = "a parameter as products want it, in bf16",
                       .infer = infer,
                       .gradient = gradient,
                       .wide_cotangent = true};
}  // namespace ops

NamedArray pack(Operand weight) {
  Graph& graph = weight.array.graph();
  if (weight.array.dtype() == graph.compute()) return weight.array;
  const NamedArray in[] = {weight.array};
  return graph.add(ops::pack_entry, {}, in, weight.where);
}

}  // namespace levanter

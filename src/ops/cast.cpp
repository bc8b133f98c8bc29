// The same values in another element type.
#include "ops/attributes.h"
#include "ops/entries.h"
#include "ops/rules.h"

namespace levanter {

namespace {

std::vector<Type> infer(const Attributes& a, std::span<const Type> in) {
  return {Type{DTypeAttributes::of(a).dtype, in[0].axes}};
}

void gradient(GradientCall& call) {
  if (is_float(call.inputs[0].dtype()) && is_float(call.outputs[0].dtype()))
    call.input_cotangents[0] = cast(call.output_cotangents[0], call.inputs[0].dtype());
}

}  // namespace

namespace ops {
const Op cast_entry = {.name = "cast",
                       .summary = "the same values in another element type",
                       .infer = infer,
                       .gradient = gradient,
                       .fusion = fuse_elementwise};
}  // namespace ops

NamedArray cast(Operand x, DType dtype) {
  if (x.array.dtype() == dtype) return x.array;
  const NamedArray in[] = {x.array};
  return x.array.graph().add(ops::cast_entry, DTypeAttributes{dtype}.pack(), in, x.where);
}

}  // namespace levanter

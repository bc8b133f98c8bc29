// The same values in another element type. code: that type.
#include "ops/ops.h"

namespace levanter {

namespace {

std::vector<Type> infer(const Attributes& a, std::span<const Type> in) {
  return {Type{static_cast<DType>(a.code), in[0].axes}};
}

void gradient(GradientCall& call) {
  if (is_float(call.inputs[0].dtype()) && is_float(call.outputs[0].dtype()))
    call.input_cotangents[0] = cast(call.output_cotangents[0], call.inputs[0].dtype());
}

}  // namespace

namespace ops {
extern const Op cast_entry;
const Op cast_entry = {.name = "cast",
                       .summary = "the same values in another element type",
                       .infer = infer,
                       .gradient = gradient};
}  // namespace ops

NamedArray cast(Operand x, DType dtype) {
  if (x.array.dtype() == dtype) return x.array;
  const NamedArray in[] = {x.array};
  return x.array.graph().add(ops::cast_entry, Attributes{.code = static_cast<int32_t>(dtype)}, in,
                             x.where);
}

}  // namespace levanter

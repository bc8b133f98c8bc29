// Random bits as a float in [0, 1): 23 bits of mantissa, exactly as JAX.
#include "ops/attributes.h"
#include "ops/entries.h"

namespace levanter {

namespace {
std::vector<Type> infer(const Attributes& a, std::span<const Type> in) {
  if (in[0].dtype != DType::u32) type_error("the bits are not u32");
  const DType dtype = DTypeAttributes::of(a).dtype;
  if (dtype != DType::f32 && dtype != DType::f64) type_error("only f32 and f64 hold 23 bits");
  return {Type{dtype, in[0].axes}};
}
}  // namespace

namespace ops {
const Op uniform_entry = {
    .name = "uniform", .summary = "random bits as a float in [0, 1)", .infer = infer};
}  // namespace ops

NamedArray uniform(Operand bits, DType dtype) {
  const NamedArray in[] = {bits.array};
  return bits.array.graph().add(ops::uniform_entry, DTypeAttributes{dtype}.pack(), in, bits.where);
}

}  // namespace levanter

// The same values as constants: no gradient goes through.
#include "ops/entries.h"
#include "ops/ops.h"

namespace levanter {

namespace {

std::vector<Type> infer(const Attributes&, std::span<const Type> in) { return {in[0]}; }

void gradient(GradientCall&) {}

std::vector<NamedArray> decompose(Graph&, const Node&, std::span<const NamedArray> in) {
  return {in[0]};
}

}  // namespace

namespace ops {
const Op detach_entry = {.name = "detach",
                         .summary = "the same values as constants, without a gradient",
                         .infer = infer,
                         .gradient = gradient,
                         .decompose = decompose};
}  // namespace ops

NamedArray detach(Operand x) {
  const NamedArray in[] = {x.array};
  return x.array.graph().add(ops::detach_entry, {}, in, x.where);
}

}  // namespace levanter

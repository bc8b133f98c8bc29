// The same values, as a constant to the gradient.
#include "ops/ops.h"
#include "ops/entries.h"

namespace levanter {

namespace {

std::vector<Type> infer(const Attributes&, std::span<const Type> in) { return {in[0]}; }

View view(const Node&, const View& in, size_t) { return in; }

void gradient(GradientCall&) {}  // nothing goes further back

}  // namespace

namespace ops {
const Op stop_gradient_entry = {.name = "stop_gradient",
                                .summary = "a constant to the gradient",
                                .infer = infer,
                                .gradient = gradient,
                                .view = view};
}  // namespace ops

NamedArray stop_gradient(Operand x) {
  const NamedArray in[] = {x.array};
  return x.array.graph().add(ops::stop_gradient_entry, Attributes{}, in, x.where);
}

}  // namespace levanter

// Rows picked by an index along an axis; shared axes match one to one. axis: the axis.
#include "base/strings.h"
#include "ops/ops.h"
#include "ops/entries.h"
#include "ops/rules.h"

namespace levanter {

namespace {

std::vector<Type> infer(const Attributes& a, std::span<const Type> in) {
  const Axes &x = in[0].axes, &index = in[1].axes;
  if (in[1].dtype != DType::i32) type_error("the index is not i32");
  if (!x.contains(a.axis)) type_error(cat("there is no axis ", a.axis.text()));
  if (index.contains(a.axis)) type_error(cat("the index has the axis ", a.axis.text(), " itself"));
  if (!is_subset(intersect(index, x), x)) type_error("a shared axis has two sizes");
  return {Type{in[0].dtype, replace(x, a.axis, without(index, x))}};
}

void gradient(GradientCall& call) {
  call.input_cotangents[0] = scatter_add(widen(call.output_cotangents[0]), call.inputs[0].axes(),
                                         call.node.attributes.axis, call.inputs[1]);
}

}  // namespace

namespace ops {
const Op gather_entry = {
    .name = "gather", .summary = "rows picked by an index", .infer = infer, .gradient = gradient};
}  // namespace ops

NamedArray gather(Operand x, AxisName axis, NamedArray index) {
  const NamedArray in[] = {x.array, index};
  return x.array.graph().add(ops::gather_entry, Attributes{.axis = axis}, in, x.where);
}

}  // namespace levanter

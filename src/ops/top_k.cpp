// The indices of the largest values along an axis. axis: the axis; axes: the one that replaces it.
#include "base/strings.h"
#include "ops/ops.h"
#include "ops/entries.h"
#include "ops/rules.h"

namespace levanter {

namespace {

std::vector<Type> infer(const Attributes& a, std::span<const Type> in) {
  require_wide_floats(in, 1);
  if (!in[0].axes.contains(a.axis)) type_error(cat("there is no axis ", a.axis.text()));
  if (a.axes[0].size < 1 || a.axes[0].size > in[0].axes.size_of(a.axis))
    type_error(cat("there are not ", a.axes[0].size, " of ", a.axis.text()));
  Axes axes = without(in[0].axes, a.axis);
  axes.push_back(a.axes[0]);
  return {Type{DType::i32, axes}};
}

}  // namespace

namespace ops {
const Op top_k_entry = {
    .name = "top_k", .summary = "the indices of the largest values along an axis", .infer = infer};
}  // namespace ops

NamedArray top_k(Operand x, AxisName axis, Axis choice) {
  const NamedArray in[] = {x.array};
  return x.array.graph().add(ops::top_k_entry, Attributes{.axis = axis, .axes = {choice}}, in,
                             x.where);
}

}  // namespace levanter

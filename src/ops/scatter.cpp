// An array with some of its elements replaced, along an axis at an index; in place where it dies.
#include "base/strings.h"
#include "ops/ops.h"
#include "ops/entries.h"

namespace levanter {

namespace {

std::vector<Type> infer(const Attributes& a, std::span<const Type> in) {
  const Axes &x = in[0].axes, &updates = in[1].axes, &index = in[2].axes;
  if (in[0].dtype != in[1].dtype) type_error("the updates are of another type");
  if (in[2].dtype != DType::i32) type_error("the index is not i32");
  if (!x.contains(a.axis)) type_error(cat("there is no axis ", a.axis.text()));
  if (!is_subset(index, updates)) type_error("the index has an axis that the updates lack");
  const Axes wanted = unite(without(x, a.axis), index);
  if (updates.contains(a.axis) || !is_subset(updates, wanted) || !is_subset(wanted, updates))
    type_error(cat("the updates' axes are not ", to_string(wanted)));
  return {in[0]};
}

}  // namespace

namespace ops {
const Op scatter_entry = {
    .name = "scatter", .summary = "an array with elements replaced at an index", .infer = infer};
}  // namespace ops

NamedArray scatter(Operand x, NamedArray updates, AxisName axis, NamedArray index) {
  const NamedArray in[] = {x.array, updates, index};
  return x.array.graph().add(ops::scatter_entry, Attributes{.axis = axis}, in, x.where);
}

}  // namespace levanter

// Parts one after the other along an axis. axis: the axis.
#include "base/error.h"
#include "base/strings.h"
#include "ops/ops.h"
#include "ops/entries.h"
#include "ops/rules.h"

namespace levanter {

namespace {

std::vector<Type> infer(const Attributes& a, std::span<const Type> in) {
  int64_t size = 0;
  for (const Type& type : in) {
    if (!type.axes.contains(a.axis)) type_error(cat("a part has no axis ", a.axis.text()));
    if (type.dtype != in[0].dtype || !(without(type.axes, a.axis) == without(in[0].axes, a.axis)))
      type_error(cat("the parts differ in more than ", a.axis.text()));
    size += type.axes.size_of(a.axis);
  }
  return {Type{in[0].dtype, replace(in[0].axes, a.axis, {{a.axis, size}})}};
}

void gradient(GradientCall& call) {
  const AxisName axis = call.node.attributes.axis;
  std::vector<int64_t> sizes;
  for (const NamedArray& part : call.inputs) sizes.push_back(part.axes().size_of(axis));
  call.input_cotangents = partition(call.output_cotangents[0], axis, sizes);
}

}  // namespace

namespace ops {
const Op concat_entry = {.name = "concat",
                         .summary = "parts one after the other along an axis",
                         .infer = infer,
                         .gradient = gradient};
}  // namespace ops

NamedArray concat(std::span<const NamedArray> parts, AxisName axis, std::source_location where) {
  LEV_CHECK(!parts.empty(), "concat of no parts");
  std::vector<NamedArray> ordered;  // all in the first one's order
  for (const NamedArray& part : parts) {
    Axes order;
    for (const Axis& a : parts[0].axes())
      order.push_back({a.name, part.axes().contains(a.name) ? part.axes().size_of(a.name) : 0});
    ordered.push_back(reorder(part, order));
  }
  return parts[0].graph().add(ops::concat_entry, Attributes{.axis = axis}, ordered, where);
}

}  // namespace levanter

// Neighbouring axes as one. axis: the new name; axes: the axes, outermost first.
#include "base/strings.h"
#include "ops/ops.h"
#include "ops/entries.h"

namespace levanter {

namespace {

std::vector<Type> infer(const Attributes& a, std::span<const Type> in) {
  const Axes& pieces = a.axes;
  if (pieces.empty()) type_error("there are no axes to merge");
  const int at = pieces.empty() ? -1 : in[0].axes.find(pieces[0].name);
  for (size_t i = 0; i < pieces.size(); ++i) {
    const size_t position = static_cast<size_t>(at) + i;
    if (at < 0 || position >= in[0].axes.size() || in[0].axes[position] != pieces[i])
      type_error(cat(to_string(pieces), " are not neighbours in ", to_string(in[0].axes)));
  }
  Axes out;
  for (size_t i = 0; i < in[0].axes.size(); ++i) {
    if (i == static_cast<size_t>(at)) out.push_back({a.axis, pieces.elements()});
    if (!pieces.contains(in[0].axes[i].name)) out.push_back(in[0].axes[i]);
  }
  return {Type{in[0].dtype, out}};
}

void gradient(GradientCall& call) {
  const Attributes& a = call.node.attributes;
  call.input_cotangents[0] = split_axis(call.output_cotangents[0], a.axis, a.axes);
}

}  // namespace

namespace ops {
const Op merge_axes_entry = {.name = "merge_axes",
                             .summary = "neighbouring axes as one",
                             .infer = infer,
                             .gradient = gradient};
}  // namespace ops

NamedArray merge_axes(Operand x, const Axes& pieces, AxisName name) {
  const NamedArray in[] = {x.array};
  return x.array.graph().add(ops::merge_axes_entry, Attributes{.axis = name, .axes = pieces}, in,
                             x.where);
}

}  // namespace levanter

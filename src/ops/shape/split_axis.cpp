// One axis cut into several, without a copy. axis: the axis; axes: its pieces, outermost first.
#include "base/strings.h"
#include "ops/ops.h"
#include "ops/entries.h"
#include "ops/rules.h"

namespace levanter {

namespace {

std::vector<Type> infer(const Attributes& a, std::span<const Type> in) {
  const int at = in[0].axes.find(a.axis);
  if (at < 0) type_error(cat("there is no axis ", a.axis.text()));
  if (a.axes.elements() != in[0].axes.size_of(a.axis))
    type_error(cat("the pieces ", to_string(a.axes), " do not multiply to ", a.axis.text(), " ",
                   in[0].axes.size_of(a.axis)));
  return {Type{in[0].dtype, replace(in[0].axes, a.axis, a.axes)}};
}

View view(const Node& node, const View& in, size_t output) {
  View out{node.outputs[output].axes, {}, in.offset};
  const Axes& pieces = node.attributes.axes;
  for (size_t i = 0, o = 0; i < in.axes.size(); ++i) {
    if (in.axes[i].name != node.attributes.axis) {
      out.strides[o++] = in.strides[i];
      continue;
    }
    const auto inner = row_major_strides(pieces);
    for (size_t p = 0; p < pieces.size(); ++p) out.strides[o++] = inner[p] * in.strides[i];
  }
  return out;
}

void gradient(GradientCall& call) {
  const Attributes& a = call.node.attributes;
  // The pieces must lie side by side, outermost first, before they can be one axis again.
  const NamedArray g = reorder(call.output_cotangents[0], call.outputs[0].axes());
  call.input_cotangents[0] = merge_axes(g, a.axes, a.axis);
}

}  // namespace

namespace ops {
const Op split_axis_entry = {.name = "split_axis",
                             .summary = "one axis cut into several",
                             .infer = infer,
                             .gradient = gradient,
                             .view = view};
}  // namespace ops

NamedArray split_axis(Operand x, AxisName name, const Axes& pieces) {
  const NamedArray in[] = {x.array};
  return x.array.graph().add(ops::split_axis_entry, Attributes{.axis = name, .axes = pieces}, in,
                             x.where);
}

}  // namespace levanter

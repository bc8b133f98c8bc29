// One axis cut into consecutive parts, without a copy.
#include <algorithm>
#include <numeric>

#include "base/error.h"
#include "base/strings.h"
#include "ops/attributes.h"
#include "ops/entries.h"

namespace levanter {

namespace {

std::vector<Type> infer(const Attributes& attributes, std::span<const Type> in) {
  const auto a = PartitionAttributes::of(attributes);
  if (!in[0].axes.contains(a.axis)) type_error(cat("there is no axis ", a.axis.text()));
  std::vector<Type> parts;
  int64_t total = 0;
  for (const int64_t size : a.sizes) {
    if (size == 0) break;
    parts.push_back({in[0].dtype, replace(in[0].axes, a.axis, {{a.axis, size}})});
    total += size;
  }
  if (total != in[0].axes.size_of(a.axis))
    type_error(cat("the parts of ", a.axis.text(), " add up to ", total, ", not ",
                   in[0].axes.size_of(a.axis)));
  return parts;
}

View view(const Node& node, const View& in, size_t output) {
  View out{node.outputs[output].axes, in.strides, in.offset};
  const auto [axis, sizes] = PartitionAttributes::of(node.attributes);
  const auto at = static_cast<size_t>(in.axes.find(axis));
  for (size_t i = 0; i < output; ++i) out.offset += sizes[i] * in.strides[at];
  return out;
}

void gradient(GradientCall& call) {
  std::vector<NamedArray> parts = call.output_cotangents;
  for (size_t i = 0; i < parts.size(); ++i)  // a part that nothing used gets zeros
    if (!parts[i])
      parts[i] =
          broadcast(constant(call.graph, 0, call.outputs[i].dtype()), call.outputs[i].axes());
  call.input_cotangents[0] = concat(parts, PartitionAttributes::of(call.node.attributes).axis);
}

}  // namespace

namespace ops {
const Op partition_entry = {.name = "partition",
                            .summary = "one axis cut into consecutive parts",
                            .infer = infer,
                            .gradient = gradient,
                            .view = view};
}  // namespace ops

std::vector<NamedArray> partition(Operand x, AxisName axis, std::span<const int64_t> sizes) {
  PartitionAttributes a{axis};
  const size_t most = a.sizes.size(), here = std::min(sizes.size(), most);
  for (size_t i = 0; i < here; ++i) a.sizes[i] = sizes[i];
  if (sizes.size() > most)  // the last part here holds all the rest
    a.sizes[most - 1] = std::accumulate(sizes.begin() + most - 1, sizes.end(), int64_t{0});
  const NamedArray in[] = {x.array};
  const NamedArray first = x.array.graph().add(ops::partition_entry, a.pack(), in, x.where);
  Graph& graph = first.graph();
  const size_t made = graph.node(first.value().node).outputs.size();
  LEV_CHECK(made == here, cat("a part of ", axis.text(), " is empty"));
  std::vector<NamedArray> parts;
  for (uint32_t i = 0; i < here; ++i) parts.emplace_back(graph, Value{first.value().node, i});
  if (sizes.size() > most) {
    const NamedArray rest = parts.back();
    parts.pop_back();
    for (const NamedArray& part : partition(Operand(rest, x.where), axis, sizes.subspan(most - 1)))
      parts.push_back(part);
  }
  return parts;
}

}  // namespace levanter

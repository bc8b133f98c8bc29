// Products with a matrix that is held in int8, each of its rows with a scale (Dettmers et al. 2022,
// arXiv:2208.07339, of weights alone).
#include "base/strings.h"
#include "ops/entries.h"
#include "ops/ops.h"
#include "ops/rules.h"

namespace levanter {

namespace {

/// The axes that a row and the matrix are multiplied over, in the matrix' order.
Axes contracted(const Axes& x, const Axes& matrix) { return intersect(matrix, x); }

std::vector<Type> infer(const Attributes&, std::span<const Type> in) {
  const Type &x = in[0], &values = in[1], &scale = in[2];
  require_floats(in, 1);
  require_wide_floats(in.subspan(2), 1);
  if (values.dtype != DType::i8)
    type_error(cat("the matrix is not i8, but ", name_of(values.dtype)));
  const Axes row = contracted(x.axes, values.axes), out = without(values.axes, row);
  if (row.empty() || out.empty()) type_error("rows and matrix share no axis, or all");
  if (!(values.axes == unite(row, out)) && !(values.axes == unite(out, row)))
    type_error("the axes of the matrix' rows and columns are mixed");
  if (!(scale.axes == row) && !(scale.axes == out))
    type_error(cat("the scales ", to_string(scale.axes), " are over neither ", to_string(out),
                   " nor ", to_string(row)));
  if (!ends_with(x.axes, row)) type_error("the axes that are summed over are not x's last");
  return {Type{widened(x.dtype), unite(without(x.axes, row), out)}};
}

void gradient(GradientCall& call) {
  if (!call.wanted[0]) return;
  const NamedArray x = call.inputs[0], g = cast(call.output_cotangents[0], x.dtype());
  call.input_cotangents[0] = reorder(quantized_dot(g, call.inputs[1], call.inputs[2]), x.axes());
}

std::vector<NamedArray> decompose(Graph&, const Node& node, std::span<const NamedArray> in) {
  return {dot(in[0], dequantize(in[1], in[2], in[0].dtype()), node.outputs[0].axes)};
}

Cost cost(const Node&, std::span<const Type> in) {
  return {2.0 * static_cast<double>(unite(in[0].axes, in[1].axes).elements())};
}

}  // namespace

namespace ops {
const Op quantized_dot_entry = {.name = "quantized_dot",
                                .summary = "a product with a matrix of int8 and its scales",
                                .infer = infer,
                                .gradient = gradient,
                                .decompose = decompose,
                                .decomposes_bf16 = true,
                                .cost = cost,
                                .save_class = SaveClass::kDot};
}  // namespace ops

NamedArray quantized_dot(Operand x, NamedArray values, NamedArray scale) {
  const Axes row = contracted(x.array.axes(), values.axes());
  const NamedArray in[] = {reorder(x.array, unite(without(x.array.axes(), row), row)), values,
                           scale};
  return x.array.graph().add(ops::quantized_dot_entry, {}, in, x.where);
}

NamedArray dequantize(NamedArray values, NamedArray scale, DType dtype) {
  return cast(cast(values, scale.dtype()) * scale, dtype);
}

}  // namespace levanter

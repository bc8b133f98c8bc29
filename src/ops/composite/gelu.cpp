// Gaussian error linear unit (Hendrycks & Gimpel 2016, arXiv:1606.08415).
#include <cmath>
#include <numbers>

#include "ops/composite/attributes.h"
#include "ops/entries.h"
#include "ops/rules.h"

namespace levanter {

namespace {

constexpr double kCubic = 0.044715;
const double kSqrt2OverPi = std::sqrt(2 / std::numbers::pi);

std::vector<Type> infer(const Attributes&, std::span<const Type> in) {
  require_floats(in, in.size());
  return {in[0]};
}

/// The factor of x/2: 1 + tanh(...) or 1 + erf(...).
NamedArray gate(Gelu kind, NamedArray x) {
  if (kind == Gelu::kErf) return map(Map::kErf, x * std::sqrt(0.5)) + 1.0;
  return tanh((x + x * x * x * kCubic) * kSqrt2OverPi) + 1.0;
}

std::vector<NamedArray> decompose(Graph&, const Node& node, std::span<const NamedArray> in) {
  return {in[0] * 0.5 * gate(GeluAttributes::of(node.attributes).kind, in[0])};
}

void gradient(GradientCall& call);

Cost cost(const Node& node, std::span<const Type>) {
  return {10.0 * static_cast<double>(node.outputs[0].elements())};
}

/// x, g -> g * d gelu/dx
std::vector<NamedArray> decompose_grad(Graph&, const Node& node, std::span<const NamedArray> in) {
  const NamedArray x = in[0];
  const Gelu kind = GeluAttributes::of(node.attributes).kind;
  const NamedArray factor = gate(kind, x);
  if (kind == Gelu::kErf) {
    const NamedArray density = exp(x * x * -0.5) * std::sqrt(0.5 / std::numbers::pi);
    return {in[1] * (factor * 0.5 + x * density)};
  }
  const NamedArray t = factor - 1.0;
  const NamedArray slope = (x * x * (3 * kCubic) + 1.0) * kSqrt2OverPi;
  return {in[1] * (factor * 0.5 + x * 0.5 * (1.0 - t * t) * slope)};
}

}  // namespace

namespace ops {
const Op gelu_entry = {.name = "gelu",
                       .summary = "Gaussian error linear unit",
                       .infer = infer,
                       .gradient = gradient,
                       .decompose = decompose,
                       .cost = cost,
                       .fusion = fuse_elementwise};
const Op gelu_grad_entry = {.name = "gelu_grad",
                            .summary = "the cotangent through gelu",
                            .infer = infer,
                            .decompose = decompose_grad,
                            .cost = cost,
                            .fusion = fuse_elementwise};
}  // namespace ops

namespace {
void gradient(GradientCall& call) {
  const NamedArray in[] = {call.inputs[0], call.output_cotangents[0]};
  call.input_cotangents[0] = call.graph.add(ops::gelu_grad_entry, call.node.attributes, in);
}
}  // namespace

NamedArray gelu(Operand x, Gelu kind) {
  const NamedArray in[] = {x.array};
  return x.array.graph().add(ops::gelu_entry, GeluAttributes{kind}.pack(), in, x.where);
}

}  // namespace levanter

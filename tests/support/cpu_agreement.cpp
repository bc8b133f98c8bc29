#include "support/cpu_agreement.h"

#include <algorithm>
#include <cmath>

#include "passes/passes.h"

namespace levanter::testing {

namespace {

/// The axes of the array of which an operand is a view.
Axes stored(const Axes& axes, Layout layout) {
  if (axes.empty()) return axes;
  std::vector<Axis> out(axes.begin(), axes.end());
  if (layout == Layout::kReversed) std::reverse(out.begin(), out.end());
  if (layout == Layout::kCutFirst) out.front().size += 1;
  if (layout == Layout::kCutLast) out.back().size += 2;
  return Axes(out);
}

NamedArray seen(NamedArray x, const Axes& axes, Layout layout) {
  if (axes.empty() || layout == Layout::kPlain) return x;
  if (layout == Layout::kReversed) return transpose(x, axes);
  const bool first = layout == Layout::kCutFirst;
  const Axis& axis = axes[first ? 0 : axes.size() - 1];
  const int64_t sizes[] = {first ? 1 : 2, axis.size};
  return partition(x, axis.name, sizes)[1];
}

/// Whether a node, or a member of a fused one, is of the op `name`.
bool has_node(const Graph& graph, std::string_view name) {
  for (const Node& node : graph.nodes())
    if (node.op->name == name || (node.body && has_node(node.body->graph, name))) return true;
  return false;
}

/// The largest error of `build` on the CPU backend; INFINITY when threads change a bit, or when
/// the function has no node of the op `fused` (if not "").
double cpu_error(const Backends& b, const Build& build, const std::vector<Array>& inputs,
                 const char* fused) {
  const Function function = optimise(trace(build, inputs, DType::f32), *b.one);
  if (*fused && !has_node(function.graph, fused)) return INFINITY;
  const auto found = run(duplicate(function), inputs, *b.one);
  for (const Backend* backend : {b.two.get(), b.five.get()})
    if (!same_bits(found, run(duplicate(function), inputs, *backend))) return INFINITY;
  const auto exact = evaluate(build, inputs, *make_backend("reference"), DType::f64);
  double worst = 0;
  for (size_t i = 0; i < found.size(); ++i)
    worst = std::max(worst, difference(found[i], exact[i], kSmallest));
  return worst;
}

/// A scalar whose gradient in each output is another number for each element.
NamedArray sum_of_sines(const std::vector<NamedArray>& outputs) {
  NamedArray total;
  for (const NamedArray& y : outputs) {
    const NamedArray sines = map(Map::kSin, y * 2.0 + 0.3);
    const NamedArray s = y.axes().empty() ? sines : sum(sines, y.axes());
    total = total ? total + s : s;
  }
  return total;
}

}  // namespace

Array make_array(const OperandSpec& spec, Layout layout, uint32_t seed) {
  const Axes axes = stored(spec.axes, layout);
  if (spec.kind == Kind::kReal) return random_real(axes, seed);
  if (spec.kind == Kind::kPositive) return positive(axes, seed);
  if (spec.kind == Kind::kIds) return random_ids(axes, spec.bound, seed);
  Array keys = random_ids(axes, int64_t{1} << 32, seed);
  keys.type.dtype = DType::u32;
  return keys;
}

Build in_layout(const Build& build, const std::vector<OperandSpec>& operands, Layout layout) {
  return [=](const std::vector<NamedArray>& in) {
    std::vector<NamedArray> views;
    for (size_t i = 0; i < in.size(); ++i) views.push_back(seen(in[i], operands[i].axes, layout));
    return build(views);
  };
}

double error_in(const Backends& b, Layout layout, const std::vector<OperandSpec>& operands,
                const Build& build, const char* fused) {
  std::vector<Array> inputs;
  for (size_t i = 0; i < operands.size(); ++i)
    inputs.push_back(make_array(operands[i], layout, static_cast<uint32_t>(i) + 1));
  return cpu_error(b, in_layout(build, operands, layout), inputs, fused);
}

double worst_error(const Backends& b, const std::vector<OperandSpec>& operands, const Build& build,
                   const char* fused) {
  double worst = 0;
  for (const Layout layout : kLayouts)
    worst = std::max(worst, error_in(b, layout, operands, build, fused));
  return worst;
}

Build with_gradients(const Build& build) {
  return [build](const std::vector<NamedArray>& in) {
    std::vector<NamedArray> out = build(in), wrt;
    for (const NamedArray& x : in)
      if (is_float(x.dtype())) wrt.push_back(x);
    const auto gradients = backprop(sum_of_sines(out), wrt);
    out.insert(out.end(), gradients.begin(), gradients.end());
    return out;
  };
}

}  // namespace levanter::testing

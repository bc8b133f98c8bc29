// Reverse-mode differentiation: one cotangent a value, one rule an op.
#include <algorithm>

#include "base/error.h"
#include "base/strings.h"
#include "ops/ops.h"
#include "ops/rules.h"
#include "passes/passes.h"

namespace levanter {

namespace {

/// The state of one backward walk.
class Backprop {
 public:
  Backprop(NamedArray loss, std::span<const NamedArray> wrt)
      : graph_(loss.graph()), count_(graph_.nodes().size()), needed_(count_), cotangents_(count_) {
    for (const NamedArray& x : wrt) needed_[x.value().node] = true;
    for (NodeId id = 0; id < count_; ++id)
      for (const Value& input : graph_.node(id).inputs)
        if (needed_[input.node]) needed_[id] = true;
    for (NodeId id = 0; id < count_; ++id) cotangents_[id].resize(graph_.node(id).outputs.size());
  }

  void run(NamedArray loss) {
    LEV_CHECK(loss.axes().empty(), "only a scalar can be differentiated");
    cotangents_[loss.value().node][loss.value().output] =
        constant(graph_, 1, loss.dtype(), graph_.node(loss.value().node).origin.where);
    for (NodeId id = loss.value().node + 1; id-- > 0;)
      if (needed_[id] && has_cotangent(id)) visit(id);
  }

  NamedArray cotangent(NamedArray x) const {
    const NamedArray g = cotangents_[x.value().node][x.value().output];
    if (g) return g;
    return broadcast(constant(graph_, 0, x.dtype()), x.axes());
  }

 private:
  bool has_cotangent(NodeId id) const {
    for (const NamedArray& g : cotangents_[id])
      if (g) return true;
    return false;
  }

  void visit(NodeId id) {
    const Node node = graph_.node(id);
    const auto is_needed = [this](const Value& input) { return needed_[input.node]; };
    if (std::none_of(node.inputs.begin(), node.inputs.end(), is_needed)) return;
    LEV_CHECK(node.op->gradient != nullptr,
              cat(node.op->name, " has no gradient, at ", graph_.describe(id)));
    Origin origin = node.origin;
    origin.phase = Phase::kBackward;
    const OriginScope scope(graph_, origin, true);
    GradientCall call{graph_, node, {}, {}, cotangents_[id], {}, {}};
    for (const Value& input : node.inputs) {
      call.inputs.emplace_back(graph_, input);
      call.wanted.push_back(needed_[input.node]);
    }
    for (uint32_t i = 0; i < node.outputs.size(); ++i)
      call.outputs.emplace_back(graph_, Value{id, i});
    call.input_cotangents.resize(node.inputs.size());
    node.op->gradient(call);
    for (size_t i = 0; i < node.inputs.size(); ++i)
      if (call.wanted[i] && call.input_cotangents[i])
        accumulate(node.inputs[i], call.input_cotangents[i]);
  }

  /// That of the value, but a parameter's gradient is not rounded on its way through `pack`.
  DType cotangent_type(Value value) const {
    const DType dtype = graph_.type(value).dtype;
    return graph_.node(value.node).op->wide_cotangent ? widened(dtype) : dtype;
  }

  void accumulate(Value value, NamedArray g) {
    const Axes axes = graph_.type(value).axes;
    LEV_CHECK(g.axes().size() == axes.size() && is_subset(g.axes(), axes),
              cat("the cotangent ", to_string(g.axes()), " does not fit the value ",
                  to_string(axes), " of ", graph_.describe(value.node)));
    NamedArray& total = cotangents_[value.node][value.output];
    g = cast(reorder(g, axes), cotangent_type(value));
    total = total ? total + g : g;
  }

  Graph& graph_;
  size_t count_;
  std::vector<bool> needed_;
  std::vector<std::vector<NamedArray>> cotangents_;
};

}  // namespace

std::vector<NamedArray> backprop(NamedArray loss, std::span<const NamedArray> wrt) {
  Backprop walk(loss, wrt);
  walk.run(loss);
  std::vector<NamedArray> gradients;
  for (const NamedArray& x : wrt) gradients.push_back(walk.cotangent(x));
  return gradients;
}

}  // namespace levanter

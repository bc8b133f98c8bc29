// Products that are only rounded, with or without a bias, become ops that give the rounded form.
#include <algorithm>
#include <map>
#include <optional>

#include "device/backend.h"
#include "ops/attributes.h"
#include "ops/entries.h"
#include "passes/passes.h"
#include "passes/rewriter.h"

namespace levanter {

namespace {

bool same_axes(const Axes& a, const Axes& b) { return is_subset(a, b) && is_subset(b, a); }

class ProductRounder {
 public:
  ProductRounder(const Function& function, const Backend& backend)
      : from_(function), backend_(backend), rewriter_(function), users_(nodes().size()) {}

  Function run() {
    for (NodeId id = 0; id < nodes().size(); ++id)
      for (const Value& input : nodes()[id].inputs) users_[input.node].push_back(id);
    for (const Result& result : from_.results) results_.push_back(result.value.node);
    for (NodeId id = 0; id < nodes().size(); ++id)
      if (is(nodes()[id], ops::dot_entry)) find(id);
    const std::vector<bool> live = live_nodes();
    for (NodeId id = 0; id < nodes().size(); ++id)
      if (live[id]) emit(id);
    return rewriter_.finish();
  }

 private:
  /// A product, all uses of which are the same rounding of it.
  struct Rounded {
    NodeId product;
    std::vector<Value> inputs;  ///< of the op: the factors, and the bias
    std::optional<NodeId> made = std::nullopt;
  };
  /// A use of a product: the cast to bf16 of the product itself, or of its sum with a bias.
  struct Use {
    NodeId cast;
    std::optional<Value> bias;
  };

  const std::vector<Node>& nodes() const { return from_.graph.nodes(); }
  const Type& type_of(Value value) const { return nodes()[value.node].outputs[value.output]; }
  bool is_result(NodeId id) const {
    return std::find(results_.begin(), results_.end(), id) != results_.end();
  }
  /// Whether a node rounds to bf16 what has these axes.
  bool is_rounding(NodeId id, const Axes& axes) const {
    const Type rounded{DType::bf16, axes};
    return is(nodes()[id], ops::cast_entry) && nodes()[id].outputs[0] == rounded;
  }

  /// The bf16 value of which `value` is the form in f32, repeated over more axes.
  std::optional<Value> bias_of(Value value) const {
    const Node& wide = nodes()[value.node];
    if (!is(wide, ops::cast_entry)) return std::nullopt;
    const Node& repeated = nodes()[wide.inputs[0].node];
    if (!is(repeated, ops::broadcast_entry) || repeated.outputs[0].dtype != DType::bf16)
      return std::nullopt;
    return repeated.inputs[0];
  }

  std::optional<Use> use_of(NodeId product, NodeId user) const {
    const Axes& axes = nodes()[product].attributes.axes;
    if (is_rounding(user, axes)) return Use{user, std::nullopt};
    const Node& sum = nodes()[user];
    if (!is(sum, ops::map_entry) || MapAttributes::of(sum.attributes).opcode != Map::kAdd)
      return std::nullopt;
    const Value other = sum.inputs[sum.inputs[0].node == product ? 1 : 0];
    const std::optional<Value> bias = bias_of(other);
    if (!bias || is_result(user) || users_[user].size() != 1 || !is_rounding(users_[user][0], axes))
      return std::nullopt;
    return Use{users_[user][0], bias};
  }

  /// Notes the casts that the rounded form of a product stands for, if it may.
  void find(NodeId product) {
    const Node& node = nodes()[product];
    if (type_of(node.inputs[0]).dtype != DType::bf16 || is_result(product)) return;
    std::vector<Use> uses;
    for (const NodeId user : users_[product]) {
      const std::optional<Use> use = use_of(product, user);
      if (!use || (!uses.empty() && use->bias != uses[0].bias)) return;
      uses.push_back(*use);
    }
    if (uses.empty()) return;
    Rounded rounded{product, node.inputs};
    if (uses[0].bias && !add_bias(rounded.inputs, *uses[0].bias, node.attributes.axes)) return;
    std::vector<Type> types;
    for (const Value& input : rounded.inputs) types.push_back(type_of(input));
    if (!backend_.supports(as_rounded(node), types)) return;
    for (const Use& use : uses) rounded_of_[use.cast] = rounded_.size();
    rounded_.push_back(std::move(rounded));
  }

  /// The factor that brings the bias' axes comes second; false where neither does alone.
  bool add_bias(std::vector<Value>& inputs, Value bias, const Axes& out) const {
    const Axes &left = type_of(inputs[0]).axes, &right = type_of(inputs[1]).axes;
    const Axes& axes = type_of(bias).axes;
    if (same_axes(axes, without(intersect(out, left), right)))
      std::swap(inputs[0], inputs[1]);
    else if (!same_axes(axes, without(intersect(out, right), left)))
      return false;
    inputs.push_back(bias);
    return true;
  }

  static Node as_rounded(Node product) {
    product.op = &ops::rounded_dot_entry;
    product.outputs = {Type{DType::bf16, product.attributes.axes}};
    return product;
  }

  const std::vector<Value>& operands_of(NodeId id) const {
    const auto found = rounded_of_.find(id);
    return found == rounded_of_.end() ? nodes()[id].inputs : rounded_[found->second].inputs;
  }

  /// What the results depend on still.
  std::vector<bool> live_nodes() const {
    std::vector<bool> live(nodes().size());
    for (const NodeId id : results_) live[id] = true;
    for (auto id = static_cast<NodeId>(nodes().size()); id-- > 0;) {
      if (!live[id]) continue;
      for (const Value& input : operands_of(id)) live[input.node] = true;
    }
    return live;
  }

  void emit(NodeId id) {
    const auto found = rounded_of_.find(id);
    if (found == rounded_of_.end()) {
      rewriter_.keep(id);
      return;
    }
    Rounded& rounded = rounded_[found->second];
    if (rounded.made) {
      rewriter_.replace(id, *rounded.made);
      return;
    }
    Node node = as_rounded(nodes()[rounded.product]);
    node.inputs.clear();
    for (const Value& input : rounded.inputs) node.inputs.push_back(rewriter_.mapped(input));
    rounded.made = rewriter_.replace(id, std::move(node));
  }

  const Function& from_;
  const Backend& backend_;
  Rewriter rewriter_;
  std::vector<std::vector<NodeId>> users_;  ///< by node, in order, once for each use
  std::vector<NodeId> results_;
  std::vector<Rounded> rounded_;
  std::map<NodeId, size_t> rounded_of_;  ///< by cast, the index in rounded_
};

}  // namespace

Function round_products(const Function& function, const Backend& backend) {
  return ProductRounder(function, backend).run();
}

}  // namespace levanter

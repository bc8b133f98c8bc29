// One node for equal nodes, none for unused ones, and a few rewrites that change no bit.
#include <algorithm>
#include <optional>
#include <unordered_map>

#include "ops/attributes.h"
#include "ops/composite/attributes.h"
#include "ops/entries.h"
#include "passes/passes.h"
#include "passes/rewriter.h"

namespace levanter {

namespace {

bool is_map(const Node& node, Map opcode) {
  return is(node, ops::map_entry) && MapAttributes::of(node.attributes).opcode == opcode;
}

size_t hash_of(const Node& node) {
  size_t h = std::hash<const void*>()(node.op);
  const auto mix = [&h](uint64_t x) { h = (h ^ x) * 0x9e3779b97f4a7c15ull; };
  mix(hash_of(node.attributes));
  for (const Value& input : node.inputs) mix(input.node * 7ull + input.output);
  return h;
}

bool equal(const Node& a, const Node& b) {
  return a.op == b.op && a.attributes == b.attributes && a.inputs == b.inputs &&
         a.origin.generation == b.origin.generation && a.body == b.body;
}

/// What went before. In a lowered function every node has been matched to a kernel, so no new kind
/// of op may appear, and remat has parted the passes: what a decomposition computes again in the
/// backward pass of a region is not to be kept from its forward pass.
enum class Stage { kTraced, kLowered };

class Canonicaliser {
 public:
  Canonicaliser(const Function& function, Stage stage)
      : from_(function), rewriter_(function), stage_(stage) {}

  Function run() {
    mark_live();
    for (NodeId id = 0; id < from_.graph.nodes().size(); ++id)
      if (uses_[id] > 0) visit(id);
    return rewriter_.finish();
  }

 private:
  /// Counts the uses of each node by live ones and by results.
  void mark_live() {
    const auto& nodes = from_.graph.nodes();
    uses_.assign(nodes.size(), 0);
    for (const Result& result : from_.results) ++uses_[result.value.node];
    for (NodeId id = static_cast<NodeId>(nodes.size()); id-- > 0;) {
      if (uses_[id] == 0) continue;
      for (const Value& input : nodes[id].inputs) ++uses_[input.node];
      if (is(nodes[id], ops::linear_xent_entry) &&
          LinearXentAttributes::of(nodes[id].attributes).gradients != XentGradients::kNone)
        losses_with_gradients_.push_back(id);
    }
  }

  void visit(NodeId id) {
    Node node = rewriter_.moved(id);
    if (is(node, ops::linear_xent_entry)) add_gradients(id, node);
    if (const auto same = identity(node)) return rewriter_.replace(Value{id, 0}, *same);
    if (sums_leading_axes(node))  // which widens what it reads, in the order of the wide form
      if (const auto narrow = narrow_form(node.inputs[0])) node.inputs[0] = *narrow;
    if (stage_ == Stage::kTraced) fold_dot_add(id, node);
    auto& bucket = seen_[hash_of(node)];
    for (const NodeId candidate : bucket)
      if (equal(made(candidate), node) && is_parted(made(candidate)) == is_parted(node))
        return rewriter_.replace(id, candidate);
    bucket.push_back(rewriter_.replace(id, std::move(node)));
  }

  const Node& made(NodeId id) const { return rewriter_.graph().node(id); }

  /// Lets a loss be computed as another old node does that has the gradients too.
  void add_gradients(NodeId id, Node& node) const {
    for (const NodeId with : losses_with_gradients_) {
      const Node& other = from_.graph.node(with);
      auto without = LinearXentAttributes::of(other.attributes);
      without.gradients = XentGradients::kNone;
      if (other.inputs != from_.graph.node(id).inputs || !(node.attributes == without.pack()))
        continue;
      node.attributes = other.attributes;
      node.outputs = other.outputs;
    }
  }

  /// So is what a matrix of int8 is expanded to, whatever the policy.
  bool is_parted(const Node& node) const {
    if (stage_ != Stage::kLowered || node.origin.phase != Phase::kBackward) return false;
    return from_.graph.region(node.origin.region).remat != Remat::kNone ||
           (!node.inputs.empty() && rewriter_.graph().type(node.inputs[0]).dtype == DType::i8);
  }

  bool is_one(Value value) const {
    const Node& node = made(value.node);
    return is(node, ops::constant_entry) && ConstantAttributes::of(node.attributes).value == 1;
  }

  bool sums_leading_axes(const Node& node) const {
    if (!is(node, ops::reduce_entry)) return false;
    const auto [kind, over] = ReduceAttributes::of(node.attributes);
    if (kind != Reduce::kSum) return false;
    const Axes& axes = rewriter_.graph().type(node.inputs[0]).axes;
    for (size_t i = 0; i < over.size(); ++i)
      if (!over.contains(axes[i].name)) return false;
    return over.size() < axes.size();
  }

  /// The bf16 value that `value` is the f32 form of, if it is one.
  std::optional<Value> narrow_form(Value value) const {
    const Node& node = made(value.node);
    if (!is(node, ops::cast_entry) || node.outputs[0].dtype != DType::f32) return std::nullopt;
    if (rewriter_.graph().type(node.inputs[0]).dtype != DType::bf16) return std::nullopt;
    return node.inputs[0];
  }

  /// The operand that x * 1, 1 * x, x / 1, a cast from bf16 to f32 and back, and, where gradients
  /// have been taken, stop_gradient return unchanged.
  std::optional<Value> identity(const Node& node) const {
    const bool mul = is_map(node, Map::kMul), div = is_map(node, Map::kDiv);
    if ((mul || div) && is_one(node.inputs[1])) return node.inputs[0];
    if (mul && is_one(node.inputs[0])) return node.inputs[1];
    if (is(node, ops::cast_entry) && node.outputs[0].dtype == DType::bf16)
      return narrow_form(node.inputs[0]);
    if (is(node, ops::stop_gradient_entry)) return node.inputs[0];
    return std::nullopt;
  }

  /// argument + dot, the dot used here only: dot_add, which writes over the argument.
  void fold_dot_add(NodeId id, Node& node) {
    if (!is_map(node, Map::kAdd)) return;
    const Value old_product = from_.graph.node(id).inputs[1];
    const Node& acc = made(node.inputs[0].node);
    const Node& product = made(node.inputs[1].node);
    if (!is(acc, ops::input_entry) || !is(product, ops::dot_entry) ||
        uses_[old_product.node] != 1 || !(acc.outputs[0] == product.outputs[0]))
      return;
    node.op = &ops::dot_add_entry;
    node.attributes = {};
    node.origin = product.origin;  // of the backward pass: remat may compute its operands again
    node.inputs = {node.inputs[0], product.inputs[0], product.inputs[1]};
  }

  const Function& from_;
  Rewriter rewriter_;
  Stage stage_;
  std::vector<uint32_t> uses_;
  std::vector<NodeId> losses_with_gradients_;
  std::unordered_map<size_t, std::vector<NodeId>> seen_;
};

}  // namespace

Function canonicalise(const Function& function) {
  const Function rewritten = Canonicaliser(function, Stage::kTraced).run();
  return Canonicaliser(rewritten, Stage::kLowered).run();  // drops what the rewrites left unused
}

Function optimise(const Function& function, const Backend& backend,
                  const OptimiseOptions& options) {
  const Function lowered = decompose(canonicalise(remat(canonicalise(function))), backend);
  Function rounded = round_products(Canonicaliser(lowered, Stage::kLowered).run(), backend);
  return schedule(options.fuse ? fuse(rounded, backend) : std::move(rounded),
                  options.schedule_seed);
}

}  // namespace levanter

// Rematerialisation by region (Chen et al. 2016, arXiv:1604.06174): the backward pass reads copies
// of what the region's policy does not save, placed where they are first needed.
#include <algorithm>
#include <map>

#include "ops/entries.h"
#include "passes/passes.h"
#include "passes/rewriter.h"

namespace levanter {

namespace {

class Rematerialiser {
 public:
  explicit Rematerialiser(const Function& function) : from_(function), rewriter_(function) {}

  Function run() {
    for (NodeId id = 0; id < from_.graph.nodes().size(); ++id) {
      Node node = from_.graph.node(id);
      const bool backward = node.origin.phase == Phase::kBackward;
      for (Value& input : node.inputs)
        input = backward ? for_backward(input, node.origin.region) : rewriter_.mapped(input);
      rewriter_.replace(id, std::move(node));
    }
    return rewriter_.finish();
  }

 private:
  const Region& region_of(const Node& node) const { return from_.graph.region(node.origin.region); }

  /// A cast to fewer bytes of a product, with or without something added: the form of the product
  /// that the backward pass reads, and the smaller one.
  bool rounds_product(const Node& node) const {
    if (!is(node, ops::cast_entry)) return false;
    const Node& wide = from_.graph.node(node.inputs[0].node);
    if (size_of(node.outputs[0].dtype) >= size_of(wide.outputs[0].dtype)) return false;
    if (wide.op->save_class == SaveClass::kDot) return true;
    if (!is(wide, ops::map_entry)) return false;
    for (const Value& input : wide.inputs)
      if (from_.graph.node(input.node).op->save_class == SaveClass::kDot) return true;
    return false;
  }

  bool is_saved(const Node& node) const {
    if (node.origin.phase != Phase::kForward || node.inputs.empty()) return true;
    const Region& region = region_of(node);
    switch (region.remat) {
      case Remat::kNone:
        return true;
      case Remat::kSaveDots:
        return node.op->save_class == SaveClass::kDot || rounds_product(node);
      case Remat::kFull:
        return false;
      case Remat::kNames:
        return std::find(region.saved.begin(), region.saved.end(),
                         from_.graph.name(node.origin.name)) != region.saved.end();
    }
    return true;
  }

  /// The value that a backward node of `region` reads: the saved one, or a copy made in the
  /// backward pass. What one region makes for another is an input of that one, and saved, unless
  /// both are of one group.
  Value for_backward(Value value, uint32_t region) {
    const Node& node = from_.graph.node(value.node);
    if (is_saved(node)) return rewriter_.mapped(value);
    if (node.origin.region != region) return for_group(value, from_.graph.region(region).group);
    const auto read = [&](Value input) { return for_backward(input, region); };
    return copy(value, copies_, region_of(node).group ? 2 : 1, read);
  }

  /// The value that a region of `group` reads from another one: saved where that one is not of the
  /// group, else computed again from the inputs of the group's first region.
  Value for_group(Value value, uint32_t group) {
    const Node& node = from_.graph.node(value.node);
    if (group == 0 || is_saved(node) || region_of(node).group != group)
      return rewriter_.mapped(value);
    const auto read = [&](Value input) { return for_group(input, group); };
    return copy(value, group_copies_, 1, read);
  }

  /// The copy of a node among `copies`, made here with the operands that `read` gives where there
  /// is none yet.
  template <class Read>
  Value copy(Value value, std::map<NodeId, NodeId>& copies, uint32_t generation, Read&& read) {
    if (const auto copied = copies.find(value.node); copied != copies.end())
      return {copied->second, value.output};
    Node copy = from_.graph.node(value.node);
    copy.origin.phase = Phase::kBackward;
    copy.origin.generation = generation;
    for (Value& input : copy.inputs) input = read(input);
    const NodeId id = rewriter_.graph().append(std::move(copy));
    copies[value.node] = id;
    return {id, value.output};
  }

  const Function& from_;
  Rewriter rewriter_;
  std::map<NodeId, NodeId> copies_;        ///< for the backward pass of their own region
  std::map<NodeId, NodeId> group_copies_;  ///< for the regions after theirs in their group
};

}  // namespace

Function remat(const Function& function) { return Rematerialiser(function).run(); }

}  // namespace levanter

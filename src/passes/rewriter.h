// A function made from another one, node by node: what the passes have in common.
#pragma once

#include <vector>

#include "ops/function.h"

namespace levanter {

/// Keeps, for every value of the old function, the value of the new one that stands for it. A pass
/// visits nodes in any order that has operands before users, keeps or replaces each, and may leave
/// out those that nothing it keeps reads.
class Rewriter {
 public:
  /// The new function begins with the old one's arguments and no node. `from` must outlive this.
  explicit Rewriter(const Function& from);

  const std::vector<Node>& nodes() const { return from_.graph.nodes(); }  ///< the old ones
  Graph& graph() { return to_.graph; }                                    ///< the new one
  const Graph& graph() const { return to_.graph; }
  Function& function() { return to_; }  ///< the new one

  Value mapped(Value old) const { return map_[first_[old.node] + old.output]; }
  /// A copy of an old node that reads what stands for its operands.
  Node moved(NodeId old) const;

  /// Appends `node`, whose operands are the new function's, to stand for the old one.
  NodeId replace(NodeId old, Node node);
  /// Lets the outputs of the new node `by` stand for those of the old one, first for first.
  void replace(NodeId old, NodeId by);
  void replace(Value old, Value by) { map_[first_[old.node] + old.output] = by; }
  /// Appends the old node as it is.
  NodeId keep(NodeId old) { return replace(old, moved(old)); }

  /// The new function, with the old one's results. Called once.
  Function finish();

 private:
  const Function& from_;
  Function to_;
  std::vector<size_t> first_;  ///< by node, the place of its first output in map_
  std::vector<Value> map_;
};

}  // namespace levanter

// The order of steps: accumulations into arguments as early as they can be, so that what they add
// does not wait for the end.
#include <algorithm>
#include <numeric>
#include <string_view>

#include "passes/passes.h"

namespace levanter {

Function schedule(const Function& function) {
  const auto& nodes = function.graph.nodes();
  std::vector<bool> hurries(nodes.size());
  for (const Result& result : function.results)
    if (result.donated >= 0) hurries[result.value.node] = true;
  // A node's place is its own index; one that hurries stands right after its last operand, and an
  // argument, which costs nothing, at the beginning.
  std::vector<NodeId> place(nodes.size());
  for (NodeId id = 0; id < nodes.size(); ++id) {
    NodeId last = 0;
    for (const Value& input : nodes[id].inputs) last = std::max(last, place[input.node]);
    const bool is_argument = nodes[id].op->name == std::string_view("input");
    place[id] = hurries[id] || is_argument ? last : std::max(id, last);
  }
  std::vector<NodeId> order(nodes.size());
  std::iota(order.begin(), order.end(), NodeId{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](NodeId a, NodeId b) { return place[a] < place[b]; });
  Function result = function.empty_copy();
  std::vector<NodeId> moved(nodes.size());
  for (const NodeId id : order) {
    Node node = nodes[id];
    for (Value& input : node.inputs) input.node = moved[input.node];
    moved[id] = result.graph.append(std::move(node));
  }
  result.results = function.results;
  for (Result& r : result.results) r.value.node = moved[r.value.node];
  return result;
}

}  // namespace levanter

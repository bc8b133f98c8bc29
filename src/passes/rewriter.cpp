// What stands for each value, while a pass makes a function from another one.
#include "passes/rewriter.h"

#include <algorithm>
#include <utility>

namespace levanter {

Rewriter::Rewriter(const Function& from) : from_(from), to_(from.empty_copy()) {
  size_t values = 0;
  for (const Node& node : nodes()) {
    first_.push_back(values);
    values += node.outputs.size();
  }
  map_.resize(values);
}

Node Rewriter::moved(NodeId old) const {
  Node node = nodes()[old];
  for (Value& input : node.inputs) input = mapped(input);
  return node;
}

NodeId Rewriter::replace(NodeId old, Node node) {
  const NodeId id = to_.graph.append(std::move(node));
  replace(old, id);
  return id;
}

void Rewriter::replace(NodeId old, NodeId by) {
  for (uint32_t i = 0; i < nodes()[old].outputs.size(); ++i) replace(Value{old, i}, Value{by, i});
}

Function Rewriter::finish() {
  to_.results = from_.results;
  for (Result& result : to_.results) result.value = mapped(result.value);
  return std::move(to_);
}

}  // namespace levanter

// The order of steps: accumulations into arguments as early as they can be, so that what they add
// does not wait for the end; or any order, to show that none changes a bit.
#include <algorithm>
#include <numeric>

#include "base/random.h"
#include "ops/entries.h"
#include "passes/passes.h"
#include "passes/rewriter.h"

namespace levanter {

namespace {

bool is_argument(const Node& node) { return is(node, ops::input_entry); }

/// By place: a node's place is its own index; one that hurries stands right after its last operand,
/// and an argument, which costs nothing, at the beginning.
std::vector<NodeId> early_order(const Function& function) {
  const auto& nodes = function.graph.nodes();
  std::vector<bool> hurries(nodes.size());
  for (const Result& result : function.results)
    if (result.donated >= 0) hurries[result.value.node] = true;
  std::vector<NodeId> place(nodes.size());
  for (NodeId id = 0; id < nodes.size(); ++id) {
    NodeId last = 0;
    for (const Value& input : nodes[id].inputs) last = std::max(last, place[input.node]);
    place[id] = hurries[id] || is_argument(nodes[id]) ? last : std::max(id, last);
  }
  std::vector<NodeId> order(nodes.size());
  std::iota(order.begin(), order.end(), NodeId{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](NodeId a, NodeId b) { return place[a] < place[b]; });
  return order;
}

/// Arguments first, then again and again any node whose operands are all there.
std::vector<NodeId> random_order(const Function& function, uint64_t seed) {
  const auto& nodes = function.graph.nodes();
  const Key key = key_from_seed(seed);
  std::vector<NodeId> order, ready;
  std::vector<size_t> missing(nodes.size());
  std::vector<std::vector<NodeId>> readers(nodes.size());
  for (NodeId id = 0; id < nodes.size(); ++id) {
    missing[id] = nodes[id].inputs.size();
    for (const Value& input : nodes[id].inputs) readers[input.node].push_back(id);
    if (is_argument(nodes[id]))
      order.push_back(id);
    else if (missing[id] == 0)
      ready.push_back(id);
  }
  const auto release = [&](NodeId id) {
    for (const NodeId reader : readers[id])
      if (--missing[reader] == 0) ready.push_back(reader);
  };
  for (const NodeId argument : order) release(argument);
  while (!ready.empty()) {
    const size_t chosen = random_below(key, order.size(), ready.size());
    std::swap(ready[chosen], ready.back());
    order.push_back(ready.back());
    ready.pop_back();
    release(order.back());
  }
  return order;
}

}  // namespace

Function schedule(const Function& function, std::optional<uint64_t> seed) {
  Rewriter rewriter(function);
  for (const NodeId id : seed ? random_order(function, *seed) : early_order(function))
    rewriter.keep(id);
  return rewriter.finish();
}

}  // namespace levanter

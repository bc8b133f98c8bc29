// Packed parameters as arguments: made once an update instead of once a microbatch.
#include <map>
#include <string_view>

#include "base/strings.h"
#include "ops/attributes.h"
#include "ops/entries.h"
#include "passes/passes.h"

namespace levanter {

std::string packed_name(std::string_view name) { return cat("packed ", name); }

Function hoist_packs(const Function& function) {
  const auto& nodes = function.graph.nodes();
  Function result = function.empty_copy();
  std::vector<NodeId> moved(nodes.size());
  std::map<int64_t, NodeId> hoisted;  // by the index of the argument that is packed
  for (NodeId id = 0; id < nodes.size(); ++id) {
    Node node = nodes[id];
    if (is(node, ops::pack_entry)) {
      const Node& source = nodes[node.inputs[0].node];
      if (is(source, ops::input_entry)) {
        const int64_t index = InputAttributes::of(source.attributes).index;
        const auto [at, fresh] = hoisted.try_emplace(index, 0);
        if (fresh) {
          const OriginScope scope(result.graph, node.origin, true);
          const std::string& name = function.arguments[static_cast<size_t>(index)].name;
          at->second = result.argument(packed_name(name), node.outputs[0]).value().node;
        }
        moved[id] = at->second;
        continue;
      }
    }
    for (Value& input : node.inputs) input.node = moved[input.node];
    moved[id] = result.graph.append(std::move(node));
  }
  result.results = function.results;
  for (Result& r : result.results) r.value.node = moved[r.value.node];
  return result;
}

}  // namespace levanter

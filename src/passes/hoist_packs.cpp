// Packed parameters as arguments: made once an update instead of once a microbatch.
#include <map>
#include <string_view>

#include "base/strings.h"
#include "ops/attributes.h"
#include "ops/entries.h"
#include "passes/passes.h"
#include "passes/rewriter.h"

namespace levanter {

std::string packed_name(std::string_view name) { return cat("packed ", name); }

Function hoist_packs(const Function& function) {
  const auto& nodes = function.graph.nodes();
  Rewriter rewriter(function);
  std::map<int64_t, NodeId> hoisted;  // by the index of the argument that is packed
  for (NodeId id = 0; id < nodes.size(); ++id) {
    const Node& node = nodes[id];
    if (is(node, ops::pack_entry)) {
      const Node& source = nodes[node.inputs[0].node];
      if (is(source, ops::input_entry)) {
        const int64_t index = InputAttributes::of(source.attributes).index;
        const auto [at, fresh] = hoisted.try_emplace(index, 0);
        if (fresh) {
          const OriginScope scope(rewriter.graph(), node.origin, true);
          const std::string& name = function.arguments[static_cast<size_t>(index)].name;
          at->second =
              rewriter.function().argument(packed_name(name), node.outputs[0]).value().node;
        }
        rewriter.replace(id, at->second);
        continue;
      }
    }
    rewriter.keep(id);
  }
  return rewriter.finish();
}

}  // namespace levanter

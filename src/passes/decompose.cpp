// Composites without a kernel become simpler ops, until every node has one.
#include "base/error.h"
#include "base/strings.h"
#include "device/backend.h"
#include "ops/rules.h"
#include "passes/passes.h"

namespace levanter {

namespace {

/// One round: true when a composite was replaced.
bool decompose_once(Function& function, const Backend& backend) {
  const Function from = std::move(function);
  function = from.empty_copy();
  std::vector<std::vector<Value>> map(from.graph.nodes().size());
  bool changed = false;
  for (NodeId id = 0; id < from.graph.nodes().size(); ++id) {
    Node node = from.graph.node(id);
    const bool supported = node.op->view || backend.supports(node, from.graph.input_types(node));
    for (Value& input : node.inputs) input = map[input.node][input.output];
    if (!supported) {
      LEV_CHECK(node.op->decompose != nullptr,
                cat(backend.name(), " has no kernel for ", node.op->name));
      const OriginScope scope(function.graph, node.origin, true);
      std::vector<NamedArray> inputs;
      for (const Value& input : node.inputs) inputs.emplace_back(function.graph, input);
      for (const NamedArray& out : node.op->decompose(function.graph, node, inputs)) {
        const Type& type = node.outputs[map[id].size()];
        map[id].push_back(reorder(out, type.axes).value());
        LEV_CHECK(function.graph.type(map[id].back()) == type,
                  cat("the decomposition of ", node.op->name, " has the type ",
                      to_string(out.type()), ", not ", to_string(type)));
      }
      changed = true;
      continue;
    }
    const auto outputs = static_cast<uint32_t>(node.outputs.size());
    const NodeId copy = function.graph.append(std::move(node));
    for (uint32_t i = 0; i < outputs; ++i) map[id].push_back({copy, i});
  }
  function.results = from.results;
  for (Result& result : function.results)
    result.value = map[result.value.node][result.value.output];
  return changed;
}

}  // namespace

Function decompose(Function function, const Backend& backend) {
  while (decompose_once(function, backend)) {
  }
  return function;
}

}  // namespace levanter

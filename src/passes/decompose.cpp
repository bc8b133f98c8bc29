// Composites without a kernel become simpler ops, until every node has one.
#include "base/error.h"
#include "base/strings.h"
#include "device/backend.h"
#include "ops/ops.h"
#include "ops/rules.h"
#include "passes/passes.h"

namespace levanter {

namespace {

bool has_bf16(std::span<const Type> types) {
  for (const Type& type : types)
    if (type.dtype == DType::bf16) return true;
  return false;
}

/// The node in f32, its bf16 inputs widened.
std::vector<NamedArray> f32_form(Graph& graph, const Node& node,
                                 std::span<const NamedArray> inputs) {
  std::vector<NamedArray> wide;
  for (const NamedArray& input : inputs) wide.push_back(widen(input));
  const NodeId id = graph.add(*node.op, node.attributes, wide).value().node;
  std::vector<NamedArray> outputs;
  for (uint32_t i = 0; i < node.outputs.size(); ++i) outputs.emplace_back(graph, Value{id, i});
  return outputs;
}

/// One round: true when a composite was replaced.
bool decompose_once(Function& function, const Backend& backend) {
  const Function from = std::move(function);
  function = from.empty_copy();
  std::vector<std::vector<Value>> map(from.graph.nodes().size());
  bool changed = false;
  for (NodeId id = 0; id < from.graph.nodes().size(); ++id) {
    Node node = from.graph.node(id);
    const std::vector<Type> types = from.graph.input_types(node);
    const bool supported = node.op->view || backend.supports(node, types);
    for (Value& input : node.inputs) input = map[input.node][input.output];
    if (!supported) {
      LEV_CHECK(node.op->decompose != nullptr,
                cat(backend.name(), " has no kernel for ", node.op->name));
      const OriginScope scope(function.graph, node.origin, true);
      std::vector<NamedArray> inputs;
      for (const Value& input : node.inputs) inputs.emplace_back(function.graph, input);
      for (const NamedArray& out : has_bf16(types)
                                       ? f32_form(function.graph, node, inputs)
                                       : node.op->decompose(function.graph, node, inputs)) {
        const Type& type = node.outputs[map[id].size()];
        map[id].push_back(cast(reorder(out, type.axes), type.dtype).value());
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

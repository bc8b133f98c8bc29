// Composites without a kernel become simpler ops, until every node has one.
#include "base/error.h"
#include "base/strings.h"
#include "device/backend.h"
#include "ops/ops.h"
#include "ops/rules.h"
#include "passes/passes.h"
#include "passes/rewriter.h"

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

/// Lets the decomposition of an old node stand for it, or its f32 form.
void replace(Rewriter& rewriter, NodeId old, bool as_f32) {
  Graph& graph = rewriter.graph();
  const Node node = rewriter.moved(old);
  const OriginScope scope(graph, node.origin, true);
  std::vector<NamedArray> inputs;
  for (const Value& input : node.inputs) inputs.emplace_back(graph, input);
  uint32_t i = 0;
  for (const NamedArray& out :
       as_f32 ? f32_form(graph, node, inputs) : node.op->decompose(graph, node, inputs)) {
    const Type& type = node.outputs[i];
    const NamedArray value = cast(reorder(out, type.axes), type.dtype);
    LEV_CHECK(value.type() == type, cat("the decomposition of ", node.op->name, " has the type ",
                                        to_string(out.type()), ", not ", to_string(type)));
    rewriter.replace(Value{old, i++}, value.value());
  }
}

/// One round: true when a composite was replaced.
bool decompose_once(Function& function, const Backend& backend) {
  Rewriter rewriter(function);
  bool changed = false;
  for (NodeId id = 0; id < rewriter.nodes().size(); ++id) {
    const Node& node = rewriter.nodes()[id];
    const std::vector<Type> types = function.graph.input_types(node);
    if (node.op->view || backend.supports(node, types)) {
      rewriter.keep(id);
      continue;
    }
    LEV_CHECK(node.op->decompose != nullptr,
              cat(backend.name(), " has no kernel for ", node.op->name));
    replace(rewriter, id, has_bf16(types) && !node.op->decomposes_bf16);
    changed = true;
  }
  function = rewriter.finish();
  return changed;
}

}  // namespace

Function decompose(Function function, const Backend& backend) {
  while (decompose_once(function, backend)) {
  }
  return function;
}

}  // namespace levanter

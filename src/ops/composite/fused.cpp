// A region of nodes over one space of axes, run as one. body: the nodes.
#include "ops/composite/fused.h"

#include "base/strings.h"
#include "ops/attributes.h"
#include "ops/entries.h"

namespace levanter {

namespace {

std::vector<Type> infer(const Attributes&, std::span<const Type>) {
  type_error("made by the fuse pass only");
}

/// The body's nodes, each on its own.
std::vector<NamedArray> decompose(Graph& graph, const Node& node, std::span<const NamedArray> in) {
  const Body& body = *node.body;
  std::vector<Value> map;
  const auto mapped = [&map](Value old) {
    return Value{map[old.node].node, map[old.node].output + old.output};
  };
  for (const Node& member : body.graph.nodes()) {
    if (is(member, ops::input_entry)) {
      map.push_back(in[static_cast<size_t>(InputAttributes::of(member.attributes).index)].value());
      continue;
    }
    Node copy = member;
    for (Value& input : copy.inputs) input = mapped(input);
    map.push_back({graph.append(std::move(copy)), 0});
  }
  std::vector<NamedArray> results;
  for (const Value& result : body.results) results.emplace_back(graph, mapped(result));
  return results;
}

}  // namespace

namespace ops {
const Op fused_entry = {
    .name = "fused", .summary = "several nodes as one", .infer = infer, .decompose = decompose};
}  // namespace ops

std::string members_of(const Node& fused) {
  std::string names;
  for (const Node& member : fused.body->graph.nodes()) {
    if (is(member, ops::input_entry) || is(member, ops::constant_entry)) continue;
    const bool map = is(member, ops::map_entry);
    names += cat(names.empty() ? "" : "+",
                 map ? name_of(MapAttributes::of(member.attributes).opcode) : member.op->name);
  }
  return names;
}

}  // namespace levanter

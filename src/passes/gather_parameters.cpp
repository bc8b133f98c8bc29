// Parameters that ranks hold in parts, gathered where they are read and dropped after (ZeRO stage
// 3; Rajbhandari et al. 2020, arXiv:1910.02054).
#include <algorithm>
#include <compare>
#include <map>
#include <utility>

#include "base/error.h"
#include "ops/attributes.h"
#include "ops/entries.h"
#include "passes/passes.h"
#include "passes/rewriter.h"

namespace levanter {

namespace {

/// What of a function a node belongs to: the forward pass, the backward pass, or what that computes
/// again for a whole group of regions before it comes to the region.
struct Part {
  Phase phase = Phase::kForward;
  bool ahead = false;
  auto operator<=>(const Part&) const = default;
};

Part part_of(const Graph& graph, const Node& node) {
  const Origin& origin = node.origin;
  return {origin.phase, graph.region(origin.region).group > 0 && origin.generation == 1};
}

/// The argument that each node is or shows, if it is held in parts; else -1.
std::vector<int> roots_of(const Function& function, std::span<const int> units) {
  const auto& nodes = function.graph.nodes();
  std::vector<int> roots(nodes.size(), -1);
  for (NodeId id = 0; id < nodes.size(); ++id) {
    if (is(nodes[id], ops::input_entry)) {
      const int64_t index = InputAttributes::of(nodes[id].attributes).index;
      if (units[static_cast<size_t>(index)] >= 0) roots[id] = static_cast<int>(index);
    } else if (nodes[id].op->view) {
      roots[id] = roots[nodes[id].inputs[0].node];
    }
  }
  return roots;
}

class Gathering {
 public:
  Gathering(const Function& function, const GatherUnits& units)
      : units_(units),
        rewriter_(function),
        roots_(roots_of(function, units.of)),
        inputs_(function.arguments.size()),
        kept_(nodes().size()) {
    for (const Result& result : function.results)
      LEV_CHECK(roots_[result.value.node] < 0, "a result is an argument held in parts");
  }

  Function run() {
    find_members();
    find_stays();
    size_t next = 0;  // stay
    for (NodeId id = 0; id < nodes().size(); ++id) {
      while (next < stays_.size() && (next == 0 || stays_[next - 1].reader <= id))
        append(stays_[next++]);
      if (roots_[id] >= 0 && nodes()[id].op->view) continue;  // a copy for every stay
      if (!kept_[id]) keep(id);
    }
    return rewriter_.finish();
  }

 private:
  /// From one gather of a unit to the last node that reads it.
  struct Stay {
    int unit = 0;
    Part part;
    NodeId reader = 0;                 ///< the first
    NodeId gather = 0;                 ///< in the new function, once it is there
    std::map<NodeId, NodeId> views{};  ///< of what is gathered, by the old function's node
  };

  const std::vector<Node>& nodes() const { return rewriter_.nodes(); }
  int unit_of(int argument) const { return units_.of[static_cast<size_t>(argument)]; }
  Part part_of(NodeId id) const {
    return units_.once ? Part{} : levanter::part_of(rewriter_.graph(), nodes()[id]);
  }
  /// fn(which of its inputs, argument) for each input of a node that shows an argument in parts.
  template <class Fn>
  void each_read(NodeId id, Fn&& fn) {
    if (nodes()[id].op->view) return;
    for (size_t i = 0; i < nodes()[id].inputs.size(); ++i)
      if (const int root = roots_[nodes()[id].inputs[i].node]; root >= 0) fn(i, root);
  }

  /// Which arguments of a unit each part of the function reads.
  void find_members() {
    for (NodeId id = 0; id < nodes().size(); ++id) {
      if (is(nodes()[id], ops::input_entry))
        inputs_[static_cast<size_t>(InputAttributes::of(nodes()[id].attributes).index)] = id;
      each_read(id, [&](size_t, int root) { members_[{unit_of(root), part_of(id)}].insert(root); });
    }
  }

  /// A unit stays while one part of the function reads it. One of a single argument, of which there
  /// are those that are read outside of regions, is dropped too where others come between.
  void find_stays() {
    std::vector<size_t> sizes(units_.of.size());  // of the units, in arguments
    for (const int unit : units_.of)
      if (unit >= 0) ++sizes[static_cast<size_t>(unit)];
    std::map<int, size_t> current;
    std::map<int, size_t> others_before;  // that had come by then
    size_t others = 0;
    for (NodeId id = 0; id < nodes().size(); ++id)
      each_read(id, [&](size_t input, int root) {
        const int unit = unit_of(root);
        const Part part = part_of(id);
        const auto at = current.find(unit);
        const bool alone = sizes[static_cast<size_t>(unit)] == 1 && !units_.once;
        if (at == current.end() || stays_[at->second].part != part ||
            (alone && others_before[unit] != others)) {
          current[unit] = stays_.size();
          stays_.push_back({unit, part, id});
          others_before[unit] = others;
          if (!alone) ++others;
        }
        stay_of_[{id, input}] = current[unit];
      });
  }

  NodeId keep(NodeId id) {
    kept_[id] = true;
    Node node = nodes()[id];
    for (size_t i = 0; i < node.inputs.size(); ++i) {
      const auto stay = stay_of_.find({id, i});
      node.inputs[i] = stay == stay_of_.end() ? rewriter_.mapped(node.inputs[i])
                                              : gathered(stays_[stay->second], node.inputs[i]);
    }
    return rewriter_.replace(id, std::move(node));
  }

  /// What stands during a stay for a value that shows an argument.
  Value gathered(Stay& stay, Value value) {
    const Node& node = nodes()[value.node];
    if (!node.op->view) {
      const std::set<int>& members = members_[{stay.unit, stay.part}];
      const auto place = std::distance(members.begin(), members.find(roots_[value.node]));
      return {stay.gather, static_cast<uint32_t>(place)};
    }
    const auto [view, fresh] = stay.views.try_emplace(value.node, 0);
    if (fresh) {
      Node copy = node;
      copy.inputs[0] = gathered(stay, copy.inputs[0]);
      view->second = rewriter_.graph().append(std::move(copy));
    }
    return {view->second, value.output};
  }

  void append(Stay& stay) {
    Node node{&ops::all_gather_entry, {}, {}, {}, nodes()[stay.reader].origin};
    for (const int member : members_[{stay.unit, stay.part}]) {
      const NodeId input = inputs_[static_cast<size_t>(member)];
      if (!kept_[input]) keep(input);
      node.inputs.push_back(rewriter_.mapped({input, 0}));
      node.outputs.push_back(nodes()[input].outputs[0]);
    }
    stay.gather = rewriter_.graph().append(std::move(node));
  }

  const GatherUnits& units_;
  Rewriter rewriter_;
  std::vector<int> roots_;
  std::vector<NodeId> inputs_;  ///< by argument
  std::vector<bool> kept_;
  std::map<std::pair<int, Part>, std::set<int>> members_;
  std::vector<Stay> stays_;
  std::map<std::pair<NodeId, size_t>, size_t> stay_of_;  ///< by a node and its input
};

}  // namespace

GatherUnits gather_units(const Function& traced, const std::set<std::string>& parted) {
  GatherUnits units{std::vector<int>(traced.arguments.size(), -1)};
  for (size_t i = 0; i < traced.arguments.size(); ++i)
    if (parted.contains(traced.arguments[i].name)) units.of[i] = 0;
  const std::vector<int> roots = roots_of(traced, units.of);
  std::fill(units.of.begin(), units.of.end(), -1);
  std::map<uint32_t, int> of_region;
  int count = 0;
  for (const Node& node : traced.graph.nodes()) {
    if (node.op->view) continue;
    for (const Value& input : node.inputs) {
      if (roots[input.node] < 0) continue;
      int& unit = units.of[static_cast<size_t>(roots[input.node])];
      if (unit >= 0) continue;
      const uint32_t region = node.origin.region;
      unit = region == 0 ? count : of_region.try_emplace(region, count).first->second;
      if (unit == count) ++count;
    }
  }
  return units;
}

Function gather_parameters(const Function& function, const GatherUnits& units) {
  return Gathering(function, units).run();
}

}  // namespace levanter

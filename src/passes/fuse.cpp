// Regions of neighbouring nodes that do arithmetic over one space of axes become single nodes.
#include <algorithm>
#include <map>
#include <optional>
#include <set>
#include <utility>

#include "device/backend.h"
#include "ops/composite/fused.h"
#include "ops/entries.h"
#include "ops/ops.h"
#include "passes/passes.h"
#include "passes/rewriter.h"

namespace levanter {

namespace {

// What one kernel can hold in registers that stay in the first-level cache.
constexpr size_t kMostInputs = 12, kMostOutputs = 6, kMostMembers = 24, kMostValues = 64;

bool is_real(DType dtype) { return dtype == DType::f32 || dtype == DType::bf16; }

/// What the node brings to a region, if it can be one's.
std::optional<Fusion> fusion_of(const Graph& graph, const Node& node) {
  if (!node.op->fusion || node.inputs.empty()) return std::nullopt;
  const std::vector<Type> in = graph.input_types(node);
  if (!is_real(in[0].dtype) || !is_real(node.outputs[0].dtype) || in[0].elements() == 0)
    return std::nullopt;
  return node.op->fusion(node, in);
}

/// Nodes that are to be one: a region, or a node alone.
struct Unit {
  std::vector<NodeId> nodes;  ///< in order
  Fusion fusion;
};

class Fuser {
 public:
  Fuser(const Function& function, const Backend& backend)
      : from_(function),
        backend_(backend),
        rewriter_(function),
        unit_of_(nodes().size()),
        place_(nodes().size()),
        found_(nodes().size()),
        users_(nodes().size()) {}

  Function run() {
    for (NodeId id = 0; id < nodes().size(); ++id) {
      for (const Value& input : nodes()[id].inputs) users_[input.node].push_back(id);
      fusions_.push_back(fusion_of(from_.graph, nodes()[id]));
      if (!backend_.joins(nodes()[id])) fusions_.back().reset();
      unit_of_[id] = place_[id] = id;
      units_.push_back({{id}, fusions_[id].value_or(Fusion{})});
    }
    for (const Result& result : from_.results) results_.insert(result.value);
    for (NodeId id = 0; id < nodes().size(); ++id)
      for (const Value& input : nodes()[id].inputs) join(input, id);
    part_unsupported();
    emitted_.resize(nodes().size());
    for (NodeId id = 0; id < nodes().size(); ++id)
      if (units_[unit_of_[id]].nodes.back() == id) emit(unit_of_[id]);
    return rewriter_.finish();
  }

 private:
  const std::vector<Node>& nodes() const { return from_.graph.nodes(); }

  /// Makes one unit of those of a value's maker and a user of it, if they may be.
  void join(Value value, NodeId user) {
    const uint32_t a = unit_of_[value.node], b = unit_of_[user];
    if (a == b || !fusions_[value.node] || !fusions_[user]) return;
    const Unit &first = units_[a], &second = units_[b];
    const Fusion &left = first.fusion, &right = second.fusion;
    // What a product gives goes on; tiles of a product are not the blocks of a sum.
    if (fusions_[user]->product || (left.product && right.product)) return;
    if ((left.product || right.product) && (left.sums || right.sums)) return;
    // Nor does what is computed again wait for what it is computed for.
    const Origin &maker = nodes()[value.node].origin, &reader = nodes()[user].origin;
    if (maker.phase != reader.phase || maker.generation != reader.generation) return;
    if (!(left.space == right.space) ||
        (!left.row.empty() && !right.row.empty() && !(left.row == right.row)))
      return;
    Unit both{first.nodes,
              {left.space, left.row.empty() ? right.row : left.row, left.sums || right.sums,
               left.product || right.product}};
    both.nodes.insert(both.nodes.end(), second.nodes.begin(), second.nodes.end());
    std::sort(both.nodes.begin(), both.nodes.end());
    if (!fits(both) || !come_together(a, b)) return;
    for (const NodeId id : second.nodes) unit_of_[id] = a;
    units_[a] = std::move(both);
    units_[b].nodes.clear();
  }

  static bool contains(const Unit& unit, NodeId id) {
    return std::binary_search(unit.nodes.begin(), unit.nodes.end(), id);
  }

  /// The values that the unit reads, constants aside, and those that others read of it.
  std::vector<Value> inputs_of(const Unit& unit) const {
    std::vector<Value> inputs;
    for (const NodeId id : unit.nodes)
      for (const Value& input : nodes()[id].inputs)
        if (!contains(unit, input.node) && !is(nodes()[input.node], ops::constant_entry) &&
            std::find(inputs.begin(), inputs.end(), input) == inputs.end())
          inputs.push_back(input);
    return inputs;
  }
  /// How many values the unit reads or makes, constants too.
  size_t values_of(const Unit& unit) const {
    std::vector<Value> constants;
    size_t made = 0;
    for (const NodeId id : unit.nodes) {
      made += nodes()[id].outputs.size();
      for (const Value& input : nodes()[id].inputs)
        if (is(nodes()[input.node], ops::constant_entry) &&
            std::find(constants.begin(), constants.end(), input) == constants.end())
          constants.push_back(input);
    }
    return made + constants.size() + inputs_of(unit).size();
  }
  std::vector<Value> outputs_of(const Unit& unit) const {
    std::vector<Value> outputs;
    for (const NodeId id : unit.nodes)
      for (uint32_t i = 0; i < nodes()[id].outputs.size(); ++i)
        if (is_read_outside(unit, {id, i})) outputs.push_back({id, i});
    return outputs;
  }
  bool is_read_outside(const Unit& unit, Value value) const {
    if (results_.contains(value)) return true;
    for (const NodeId user : users_[value.node])
      if (!contains(unit, user) && reads(nodes()[user], value)) return true;
    return false;
  }
  static bool reads(const Node& node, Value value) {
    return std::find(node.inputs.begin(), node.inputs.end(), value) != node.inputs.end();
  }

  bool fits(const Unit& unit) const {
    if (unit.nodes.size() > kMostMembers || inputs_of(unit).size() > kMostInputs ||
        outputs_of(unit).size() > kMostOutputs || values_of(unit) > kMostValues)
      return false;
    for (const NodeId id : unit.nodes)  // what members make for members is over the whole space
      for (const Value& input : nodes()[id].inputs)
        if (contains(unit, input.node) && (fusions_[id]->product || input.output > 0 ||
                                           !(from_.graph.type(input).axes == unit.fusion.space)))
          return false;
    return true;
  }

  /// Whether units a and b, of which b reads a, may be one: no path leads from a through others to
  /// b. If so, they take one place in the order of the units, in which paths only go up: all that
  /// is searched or moves lies between the two (Pearce & Kelly 2007, doi:10.1145/1187436.1210590).
  bool come_together(uint32_t a, uint32_t b) {
    ++search_;
    found_[a] = found_[b] = search_;
    std::vector<uint32_t> after = {a}, before = {b};
    for (size_t i = 0; i < after.size(); ++i)
      for (const NodeId id : units_[after[i]].nodes)
        for (const NodeId user : users_[id]) {
          const uint32_t unit = unit_of_[user];
          if (unit == b && i > 0) return false;
          if (place_[unit] < place_[b] && is_new(unit)) after.push_back(unit);
        }
    for (size_t i = 0; i < before.size(); ++i)
      for (const NodeId id : units_[before[i]].nodes)
        for (const Value& input : nodes()[id].inputs) {
          const uint32_t unit = unit_of_[input.node];
          if (place_[unit] > place_[a] && is_new(unit)) before.push_back(unit);
        }
    reorder(std::move(before), std::move(after));
    return true;
  }
  /// Whether the search under way comes to the unit for the first time.
  bool is_new(uint32_t unit) { return std::exchange(found_[unit], search_) != search_; }

  /// Puts all of `before` but its last unit, which goes into the first of `after`, before that one.
  void reorder(std::vector<uint32_t> before, std::vector<uint32_t> after) {
    std::vector<uint32_t> places;
    for (auto* units : {&before, &after}) {
      for (const uint32_t unit : *units) places.push_back(place_[unit]);
      std::sort(units->begin(), units->end(),
                [this](uint32_t x, uint32_t y) { return place_[x] < place_[y]; });
    }
    std::sort(places.begin(), places.end());
    before.pop_back();
    before.insert(before.end(), after.begin(), after.end());
    for (size_t i = 0; i < before.size(); ++i) place_[before[i]] = places[i];
  }

  /// Appends a unit after whatever it reads.
  void emit(uint32_t index) {
    if (emitted_[index]) return;
    emitted_[index] = true;
    const Unit& unit = units_[index];
    for (const NodeId id : unit.nodes)
      for (const Value& input : nodes()[id].inputs)
        if (unit_of_[input.node] != index) emit(unit_of_[input.node]);
    if (unit.nodes.size() > 1) return append_fused(unit);
    for (const NodeId id : unit.nodes) rewriter_.keep(id);
  }

  /// The region as a node that reads the values of the function it comes from.
  Node fused(const Unit& unit, const std::vector<Value>& outputs) const {
    const std::vector<Value> inputs = inputs_of(unit);
    Node node{&ops::fused_entry,
              {},
              inputs,
              {},
              nodes()[unit.nodes.back()].origin,
              std::make_shared<const Body>(body_of(unit, inputs, outputs))};
    for (const Value& output : outputs) node.outputs.push_back(from_.graph.type(output));
    return node;
  }

  void append_fused(const Unit& unit) {
    const std::vector<Value> outputs = outputs_of(unit);
    Node node = fused(unit, outputs);
    for (Value& input : node.inputs) input = rewriter_.mapped(input);
    const NodeId made = rewriter_.graph().append(std::move(node));
    for (uint32_t i = 0; i < outputs.size(); ++i) rewriter_.replace(outputs[i], {made, i});
  }

  /// Parts the regions that the backend has no kernel for: their nodes keep their places.
  void part_unsupported() {
    for (size_t index = 0; index < units_.size(); ++index) {
      const Unit unit = units_[index];
      if (unit.nodes.size() < 2) continue;
      const Node node = fused(unit, outputs_of(unit));
      if (backend_.supports(node, from_.graph.input_types(node))) continue;
      for (const NodeId id : unit.nodes) {
        unit_of_[id] = id;
        units_[id].nodes = {id};
      }
    }
  }

  Body body_of(const Unit& unit, const std::vector<Value>& inputs,
               const std::vector<Value>& outputs) const {
    Body body{from_.graph.empty_copy(), {}};
    std::map<Value, Value> inside;
    for (size_t i = 0; i < inputs.size(); ++i)
      inside[inputs[i]] =
          input(body.graph, from_.graph.type(inputs[i]), static_cast<int64_t>(i)).value();
    for (const NodeId id : unit.nodes) {
      Node member = nodes()[id];
      for (Value& operand : member.inputs) {
        if (!inside.contains(operand))  // a constant
          inside[operand] = {body.graph.append(nodes()[operand.node]), 0};
        operand = inside[operand];
      }
      const auto count = static_cast<uint32_t>(member.outputs.size());
      const NodeId copy = body.graph.append(std::move(member));
      for (uint32_t i = 0; i < count; ++i) inside[Value{id, i}] = {copy, i};
    }
    for (const Value& output : outputs) body.results.push_back(inside[output]);
    return body;
  }

  const Function& from_;
  const Backend& backend_;
  Rewriter rewriter_;
  std::vector<uint32_t> unit_of_;  ///< by node
  std::vector<uint32_t> place_;    ///< of a unit, in an order where each stands after what it reads
  std::vector<uint32_t> found_;    ///< the last search that came to a unit
  uint32_t search_ = 0;
  std::vector<std::vector<NodeId>> users_;
  std::set<Value> results_;
  std::vector<std::optional<Fusion>> fusions_;
  std::vector<bool> emitted_;
  std::vector<Unit> units_;
};

}  // namespace

Function fuse(const Function& function, const Backend& backend) {
  return Fuser(function, backend).run();
}

}  // namespace levanter

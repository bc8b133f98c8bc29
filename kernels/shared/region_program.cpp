// A fused region of elementwise and row arithmetic as a straight-line program, whatever runs it.
#include "kernels/shared/region_program.h"

#include <algorithm>

#include "base/bf16.h"
#include "base/error.h"
#include "ops/attributes.h"
#include "ops/composite/attributes.h"
#include "ops/entries.h"

namespace levanter::kernels {

namespace {

bool is_cast(const Node& node) { return is(node, ops::cast_entry) || is(node, ops::pack_entry); }

/// The columns that a node takes together; none for an elementwise one.
Axes columns_of(const Graph& graph, const Node& node) {
  if (is(node, ops::reduce_entry)) return node.outputs[0].axes;
  if (is(node, ops::layer_norm_entry) || is(node, ops::layer_norm_grad_entry))
    return graph.type(node.inputs[1]).axes;
  if (!is(node, ops::dot_entry)) return {};
  // The columns of the matrix are those of its axes that one factor has, if they come last.
  const Axes& out = node.outputs[0].axes;
  for (const size_t i : {1, 0}) {
    const Axes own = without(out, graph.type(node.inputs[1 - i]).axes);
    if (!own.empty() && std::equal(own.begin(), own.end(), out.end() - own.size())) return own;
  }
  return {};
}

}  // namespace

RegionProgram::RegionProgram(const Body& body, std::span<const ArrayInfo> inputs,
                             std::span<const ArrayInfo> results) {
  // A result that lies in a concatenation has that one's names.
  std::vector<ArrayInfo> named(results.begin(), results.end());
  for (size_t o = 0; o < named.size(); ++o)
    named[o].view.axes = body.graph.type(body.results[o]).axes;
  find_columns(body, inputs, named);
  for (const ArrayInfo& info : inputs) {
    operands.push_back(operand(info));
    input_views.push_back(info.view);
  }
  for (const ArrayInfo& info : named) outputs.push_back({operand(info)});
  find_product(body);
  compile(body);
}

void RegionProgram::find_columns(const Body& body, std::span<const ArrayInfo> inputs,
                                 std::span<const ArrayInfo> results) {
  Axes columns;
  for (const Node& node : body.graph.nodes()) {
    if (node.inputs.empty()) continue;
    space =
        is(node, ops::reduce_entry) ? body.graph.type(node.inputs[0]).axes : node.outputs[0].axes;
    const Axes own = columns_of(body.graph, node);
    if (!own.empty() && (columns.empty() || !is(node, ops::dot_entry))) columns = own;
    takes_rows |= is(node, ops::layer_norm_entry) || is(node, ops::layer_norm_grad_entry);
  }
  row_axes = space.size() - columns.size();
  if (columns.empty()) {  // as many as lie evenly in every operand
    row_axes = 0;
    while (row_axes + 1 < space.size() &&
           !(lie_evenly(inputs, row_axes) && lie_evenly(results, row_axes)))
      ++row_axes;
  }
  for (const Axis& axis : std::span(space.begin(), row_axes)) rows *= axis.size;
  for (const Axis& axis : std::span(space.begin() + row_axes, space.end())) width *= axis.size;
}

bool RegionProgram::lie_evenly(std::span<const ArrayInfo> arrays, size_t row_count) const {
  return std::all_of(arrays.begin(), arrays.end(), [&](const ArrayInfo& info) {
    const Dims columns(info.view, std::span(space.begin() + row_count, space.end()));
    return columns.linear() && columns.step() <= 1;
  });
}

RegionProgram::Operand RegionProgram::operand(const ArrayInfo& info) const {
  const Dims along(info.view, std::span(space.begin(), row_axes));
  const Dims across(info.view, std::span(space.begin() + row_axes, space.end()));
  int64_t step = across.linear() ? across.step() : -1;
  if (width == 1) step = 1;
  const bool moves = !along.linear() || along.step() != 0;
  const bool dense = step == 1 && along.linear() && (rows == 1 || along.step() == width);
  return {info.dtype, along, across, moves, dense, step, info.view.offset};
}

/// The product as one more operand, a matrix of the whole space.
void RegionProgram::find_product(const Body& body) {
  const auto& nodes = body.graph.nodes();
  for (NodeId id = 0; id < nodes.size(); ++id) {
    if (!is(nodes[id], ops::dot_entry)) continue;
    product = id;
    for (size_t i = 0; i < 2; ++i)
      factors[i] = static_cast<int>(
          InputAttributes::of(body.graph.node(nodes[id].inputs[i].node).attributes).index);
    operands.push_back(operand({DType::f32, View::row_major(space), {}}));
  }
}

/// Notes that slot is read element by element.
int RegionProgram::use(int slot, bool whole) {
  Slot& s = slots[static_cast<size_t>(slot)];
  s.loaded = true;
  s.whole |= whole;
  s.last_use = static_cast<int>(steps.size());
  return slot;
}

void RegionProgram::compile(const Body& body) {
  const auto& nodes = body.graph.nodes();
  std::vector<bool> is_read(nodes.size());  // by members: then bf16 is rounded when it is made
  for (const Node& node : nodes)
    for (const Value& input : node.inputs)
      if (input.output == 0) is_read[input.node] = true;
  std::vector<int> slot_of(nodes.size(), -1);
  for (NodeId id = 0; id < nodes.size(); ++id) {
    const Node& node = nodes[id];
    const int source = node.inputs.empty() ? -1 : slot_of[node.inputs[0].node];
    if (is_cast(node) && (node.outputs[0].dtype == DType::f32 || !is_read[id])) {
      slot_of[id] = source;  // widened already, or rounded by storing
      continue;
    }
    slot_of[id] = static_cast<int>(slots.size());
    slots.emplace_back();
    if (is(node, ops::dot_entry)) {
      slots.back().input = product_operand();
    } else if (is(node, ops::input_entry)) {
      slots.back().input = static_cast<int>(InputAttributes::of(node.attributes).index);
    } else if (is(node, ops::constant_entry)) {
      slots.back().constant = true;
      slots.back().value = static_cast<float>(ConstantAttributes::of(node.attributes).value);
      if (node.outputs[0].dtype == DType::bf16) slots.back().value = Bf16(slots.back().value);
    } else {
      add_instruction(body, id, slot_of);
      Instruction& step = steps.back();
      step.out = step.kind == Instruction::Kind::kSum ? -1 : slot_of[id];
      step.rounds = node.outputs[0].dtype == DType::bf16 && is_read[id] && !is_cast(node);
    }
  }
  LEV_CHECK(slots.size() <= kValues && outputs.size() <= kOutputs, "a region is too large");
  for (size_t o = 0; o < outputs.size(); ++o) {
    const Value result = body.results[o];
    if (result.output == 0 && !is(nodes[result.node], ops::reduce_entry))
      outputs[o].slot = use(slot_of[result.node], true);
  }
}

/// Everything but the operands and the slot.
void RegionProgram::choose_kind(const Body& body, NodeId id, Instruction& step) {
  using Kind = Instruction::Kind;
  const Node& node = body.graph.node(id);
  const auto output_of = [&](uint32_t output) {
    for (size_t o = 0; o < body.results.size(); ++o)
      if (body.results[o] == Value{id, output}) return static_cast<int>(o);
    return -1;
  };
  const auto add_sum = [&](uint32_t output) {
    if (const int o = output_of(output); o >= 0)
      outputs[static_cast<size_t>(o)].sum = static_cast<int>(sum_count);
    return static_cast<int>(sum_count++);
  };
  if (is(node, ops::map_entry)) {
    step.kind = Kind::kMap;
    step.map = MapAttributes::of(node.attributes).opcode;
  } else if (is_cast(node)) {
    LEV_CHECK(node.outputs[0].dtype == DType::bf16, "a cast in a region is to bf16");
    step.kind = Kind::kRound;
  } else if (is(node, ops::gelu_entry) || is(node, ops::gelu_grad_entry)) {
    step.kind = is(node, ops::gelu_entry) ? Kind::kGelu : Kind::kGeluGrad;
    step.gelu = GeluAttributes::of(node.attributes).kind;
  } else if (is(node, ops::dropout_entry)) {
    step.kind = Kind::kDropout;
    step.real = static_cast<float>(1 - DropoutAttributes::of(node.attributes).rate);
  } else if (is(node, ops::layer_norm_entry)) {
    step.kind = Kind::kNorm;
    step.centred = LayerNormAttributes::of(node.attributes).has_mean;
    step.real = static_cast<float>(LayerNormAttributes::of(node.attributes).eps);
    step.extra = {output_of(1), output_of(2)};
  } else if (is(node, ops::layer_norm_grad_entry)) {
    step.kind = Kind::kNormGrad;
    step.centred = LayerNormAttributes::of(node.attributes).has_mean;
    if (node.outputs.size() > 1) step.extra = {add_sum(1), add_sum(2)};
  } else {
    LEV_CHECK(is(node, ops::reduce_entry), "an op that no region takes");
    step.kind = Kind::kSum;
    step.extra[0] = add_sum(0);
  }
}

void RegionProgram::add_instruction(const Body& body, NodeId id, const std::vector<int>& slot_of) {
  using Kind = Instruction::Kind;
  const Node& node = body.graph.node(id);
  Instruction step;
  choose_kind(body, id, step);
  const bool spans = step.kind >= Kind::kDropout;
  step.count = node.inputs.size();
  for (size_t i = 0; i < step.count; ++i) {
    const int slot = slot_of[node.inputs[i].node];
    const bool apart = (step.kind == Kind::kDropout && i == 1) ||
                       (step.kind == Kind::kNormGrad && (i == 2 || i == 3));
    step.in[i] = apart ? slot : use(slot, spans);
  }
  if (step.kind == Kind::kGeluGrad) std::swap(step.in[0], step.in[1]);
  steps.push_back(step);
}

bool RegionProgram::in_place(size_t output, size_t input) const {
  const int from = static_cast<int>(input);
  const bool read = std::any_of(slots.begin(), slots.end(), [from](const Slot& slot) {
    return slot.input == from && slot.loaded;
  });
  for (size_t other = 0; other < outputs.size(); ++other)  // that is the input itself
    if (other != output && outputs[other].slot >= 0 &&
        slots[static_cast<size_t>(outputs[other].slot)].input == from)
      return false;
  return outputs[output].slot >= 0 && read && from != factors[0] && from != factors[1] &&
         operands[input].dtype == outputs[output].operand.dtype && input_views[input].axes == space;
}

Body body_of(const KernelRequest& request) {
  Body body;
  Node node = request.node;
  node.inputs.clear();
  for (size_t i = 0; i < request.inputs.size(); ++i) {
    const ArrayInfo& info = request.inputs[i];
    node.inputs.push_back(
        input(body.graph, {info.dtype, info.view.axes}, static_cast<int64_t>(i)).value());
  }
  const auto count = static_cast<uint32_t>(node.outputs.size());
  const NodeId id = body.graph.append(std::move(node));
  for (uint32_t i = 0; i < count; ++i) body.results.push_back({id, i});
  return body;
}

}  // namespace levanter::kernels

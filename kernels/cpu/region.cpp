// From a body to a region's program.
#include "kernels/cpu/region.h"

#include <algorithm>

#include "base/error.h"
#include "base/bf16.h"
#include "ops/attributes.h"
#include "ops/composite/attributes.h"
#include "ops/entries.h"

namespace levanter::cpu {

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

Region::Dims::Dims(const View& view, std::span<const Axis> axes) {
  for (const Axis& axis : axes) {
    if (axis.size == 1) continue;
    const int at = view.axes.find(axis.name);
    const int64_t stride = at < 0 ? 0 : view.strides[static_cast<size_t>(at)];
    if (count > 0 && dims[count - 1].stride == stride * axis.size)
      dims[count - 1] = {dims[count - 1].size * axis.size, stride};
    else
      dims[count++] = {axis.size, stride};
  }
}

int64_t Region::Dims::offset(int64_t index) const {
  if (linear()) return index * step();
  int64_t at = 0;
  for (size_t i = count; i-- > 0; index /= dims[i].size)
    at += index % dims[i].size * dims[i].stride;
  return at;
}

Region::Region(Context& context, const Body& body, std::span<const ArrayInfo> inputs,
               std::span<const ArrayInfo> outputs, bool few_rows)
    : context_(context) {
  // A result that lies in a concatenation has that one's names.
  std::vector<ArrayInfo> results(outputs.begin(), outputs.end());
  for (size_t o = 0; o < results.size(); ++o)
    results[o].view.axes = body.graph.type(body.results[o]).axes;
  find_columns(body, inputs, results);
  for (const Axis& axis : std::span(space_.begin(), row_axes_)) rows_ *= axis.size;
  tile_columns_ = takes_rows_ ? width_ : std::min(width_, kTileElements);
  if (tile_columns_ == width_)
    tile_rows_ = std::clamp<int64_t>(kTileElements / width_, 1, std::min(kTileRows, rows_));
  piece_ = takes_rows_ ? width_ : std::min(width_, kTaskElements);
  for (const ArrayInfo& info : inputs) {
    operands_.push_back(operand(info));
    input_views_.push_back(info.view);
  }
  for (const ArrayInfo& info : results) outputs_.push_back({operand(info)});
  add_product(body, inputs, few_rows);
  compile(body);
  tiled_ = product_ && sum_count_ == 0 && product_->has_tiles(width_, takes_rows_);
  block_rows_ = std::max(tile_rows_, kTaskElements / piece_ / tile_rows_ * tile_rows_);
  if (sum_count_ > 0) block_rows_ = kBlockRows;
  assign_registers();
}

void Region::find_columns(const Body& body, std::span<const ArrayInfo> inputs,
                          std::span<const ArrayInfo> outputs) {
  Axes columns;
  for (const Node& node : body.graph.nodes()) {
    if (node.inputs.empty()) continue;
    space_ =
        is(node, ops::reduce_entry) ? body.graph.type(node.inputs[0]).axes : node.outputs[0].axes;
    const Axes own = columns_of(body.graph, node);
    if (!own.empty() && (columns.empty() || !is(node, ops::dot_entry))) columns = own;
    takes_rows_ |= is(node, ops::layer_norm_entry) || is(node, ops::layer_norm_grad_entry);
  }
  row_axes_ = space_.size() - columns.size();
  if (columns.empty()) {  // as many as lie evenly in every operand
    row_axes_ = 0;
    while (row_axes_ + 1 < space_.size() &&
           !(lie_evenly(inputs, row_axes_) && lie_evenly(outputs, row_axes_)))
      ++row_axes_;
  }
  rows_ = width_ = 1;
  for (const Axis& axis : std::span(space_.begin() + row_axes_, space_.end())) width_ *= axis.size;
}

bool Region::lie_evenly(std::span<const ArrayInfo> arrays, size_t rows) const {
  return std::all_of(arrays.begin(), arrays.end(), [&](const ArrayInfo& info) {
    const Dims columns(info.view, std::span(space_.begin() + rows, space_.end()));
    return columns.linear() && columns.step() <= 1;
  });
}

Region::Operand Region::operand(const ArrayInfo& info) const {
  const Dims rows(info.view, std::span(space_.begin(), row_axes_));
  const Dims columns(info.view, std::span(space_.begin() + row_axes_, space_.end()));
  int64_t step = columns.linear() ? columns.step() : -1;
  if (width_ == 1) step = 1;
  const bool moves = !rows.linear() || rows.step() != 0;
  const bool dense = step == 1 && rows.linear() && (rows_ == 1 || rows.step() == width_);
  return {info.dtype, rows, columns, moves, dense, step};
}

/// The product as one more operand, a matrix of the whole space.
void Region::add_product(const Body& body, std::span<const ArrayInfo> inputs, bool few_rows) {
  for (const Node& node : body.graph.nodes()) {
    if (!is(node, ops::dot_entry)) continue;
    KernelRequest request{node, {}, {{DType::f32, View::row_major(space_), {}}}, few_rows};
    for (size_t i = 0; i < 2; ++i) {
      factors_[i] = static_cast<int>(
          InputAttributes::of(body.graph.node(node.inputs[i].node).attributes).index);
      request.inputs.push_back(inputs[static_cast<size_t>(factors_[i])]);
    }
    product_ = make_tiled_dot(context_, request);
    operands_.push_back(operand(request.outputs[0]));
  }
}

/// Notes that slot is read element by element.
int Region::use(int slot, bool whole) {
  Slot& s = slots_[static_cast<size_t>(slot)];
  s.loaded = true;
  s.whole |= whole;
  s.last_use = static_cast<int>(program_.size());
  return slot;
}

void Region::compile(const Body& body) {
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
    slot_of[id] = static_cast<int>(slots_.size());
    slots_.emplace_back();
    if (is(node, ops::dot_entry)) {
      slots_.back().input = static_cast<int>(input_views_.size());
    } else if (is(node, ops::input_entry)) {
      slots_.back().input = static_cast<int>(InputAttributes::of(node.attributes).index);
    } else if (is(node, ops::constant_entry)) {
      slots_.back().constant = true;
      slots_.back().value = static_cast<float>(ConstantAttributes::of(node.attributes).value);
      if (node.outputs[0].dtype == DType::bf16) slots_.back().value = Bf16(slots_.back().value);
    } else {
      add_instruction(body, id, slot_of);
      Instruction& step = program_.back();
      step.out = step.kind == Instruction::Kind::kSum ? -1 : slot_of[id];
      step.rounds = node.outputs[0].dtype == DType::bf16 && is_read[id] && !is_cast(node);
    }
  }
  LEV_CHECK(slots_.size() <= kValues && outputs_.size() <= kOutputs, "a region is too large");
  for (size_t o = 0; o < outputs_.size(); ++o) {
    const Value result = body.results[o];
    if (result.output == 0 && !is(nodes[result.node], ops::reduce_entry))
      outputs_[o].slot = use(slot_of[result.node], true);
  }
}

void Region::add_instruction(const Body& body, NodeId id, const std::vector<int>& slot_of) {
  using Kind = Instruction::Kind;
  const Node& node = body.graph.node(id);
  const bool bf16 = node.outputs[0].dtype == DType::bf16;
  Instruction step;
  const Gelu gelu = GeluAttributes::of(node.attributes).kind;
  const auto output_of = [&](uint32_t output) {
    for (size_t o = 0; o < body.results.size(); ++o)
      if (body.results[o] == Value{id, output}) return static_cast<int>(o);
    return -1;
  };
  const auto add_sum = [&](uint32_t output) {
    if (const int o = output_of(output); o >= 0)
      outputs_[static_cast<size_t>(o)].sum = static_cast<int>(sum_count_);
    return static_cast<int>(sum_count_++);
  };
  if (is(node, ops::map_entry)) {
    const Map opcode = MapAttributes::of(node.attributes).opcode;
    step.kind = Kind::kSelect;
    if (arity(opcode) == 1) step.kind = Kind::kUnary;
    if (arity(opcode) == 2) step.kind = Kind::kBinary;
    step.index = static_cast<size_t>(opcode);
  } else if (is_cast(node)) {
    LEV_CHECK(bf16, "a cast in a region is to bf16");
    step.index = static_cast<size_t>(UnaryOp::kRoundBf16);
  } else if (is(node, ops::gelu_entry)) {
    step.index = static_cast<size_t>(gelu == Gelu::kTanh ? UnaryOp::kGeluTanh : UnaryOp::kGeluErf);
  } else if (is(node, ops::gelu_grad_entry)) {
    step.kind = Kind::kBinary;
    step.index =
        static_cast<size_t>(gelu == Gelu::kTanh ? BinaryOp::kGeluTanhGrad : BinaryOp::kGeluErfGrad);
  } else if (is(node, ops::dropout_entry)) {
    step.kind = Kind::kDropout;
    step.real = static_cast<float>(1 - DropoutAttributes::of(node.attributes).rate);
  } else if (is(node, ops::layer_norm_entry)) {
    step.kind = Kind::kNorm;
    step.centre = LayerNormAttributes::of(node.attributes).has_mean ? Centre::kYes : Centre::kNo;
    step.real = static_cast<float>(LayerNormAttributes::of(node.attributes).eps);
    step.extra = {output_of(1), output_of(2)};
  } else if (is(node, ops::layer_norm_grad_entry)) {
    step.kind = Kind::kNormGrad;
    step.centre = LayerNormAttributes::of(node.attributes).has_mean ? Centre::kYes : Centre::kNo;
    step.extra = {add_sum(1), add_sum(2)};
  } else {
    LEV_CHECK(is(node, ops::reduce_entry), "an op that no region takes");
    step.kind = Kind::kSum;
    step.extra[0] = add_sum(0);
  }
  const bool spans = step.kind > Kind::kSelect;
  for (size_t i = 0; i < node.inputs.size(); ++i) {
    const int slot = slot_of[node.inputs[i].node];
    const bool apart = (step.kind == Kind::kDropout && i == 1) ||
                       (step.kind == Kind::kNormGrad && (i == 2 || i == 3));
    step.in[i] = apart ? slot : use(slot, spans);
  }
  if (is(node, ops::gelu_grad_entry)) std::swap(step.in[0], step.in[1]);
  program_.push_back(step);
}

/// One for each input that may have to be copied, and the fewest for what is made.
void Region::assign_registers() {
  for (Slot& slot : slots_)
    if (slot.input >= 0 ? slot.loaded : slot.constant && slot.whole)
      slot.reg = static_cast<int>(register_count_++);
  std::vector<int> free;
  for (size_t i = 0; i < program_.size(); ++i) {
    for (size_t s = 0; s < slots_.size(); ++s) {
      const Slot& slot = slots_[s];
      const bool made = slot.input < 0 && !slot.constant && slot.reg >= 0;
      if (made && slot.last_use == static_cast<int>(i)) free.push_back(slot.reg);
    }
    if (program_[i].out < 0) continue;
    Slot& slot = slots_[static_cast<size_t>(program_[i].out)];
    if (free.empty()) free.push_back(static_cast<int>(register_count_++));
    slot.reg = free.back();
    free.pop_back();
    if (slot.last_use < 0) free.push_back(slot.reg);  // made beside what is wanted
  }
  register_floats_ = (tile_rows_ * tile_columns_ + 15) / 16 * 16;
}

/// Sums, then each worker's registers.
int64_t Region::own_bytes() const {
  const int64_t sums = sum_count_ * ceil_div(rows_, kBlockRows) * width_;
  return align64(sums * 4) + context_.pool.threads() * register_count_ * register_floats_ * 4;
}

int64_t Region::workspace_bytes() const {
  if (!product_) return own_bytes();
  return own_bytes() + product_->workspace_bytes() + (tiled_ ? 0 : align64(rows_ * width_ * 4));
}

bool Region::in_place(size_t output, size_t input) const {
  const Operand& to = outputs_[output].operand;
  const bool read = std::any_of(slots_.begin(), slots_.end(), [input](const Slot& slot) {
    return slot.input == static_cast<int>(input) && slot.loaded;
  });
  const int from = static_cast<int>(input);
  for (size_t other = 0; other < outputs_.size(); ++other)  // that is the input itself
    if (other != output && outputs_[other].slot >= 0 &&
        slots_[static_cast<size_t>(outputs_[other].slot)].input == from)
      return false;
  return outputs_[output].slot >= 0 && read && from != factors_[0] && from != factors_[1] &&
         operands_[input].dtype == to.dtype && input_views_[input].axes == space_;
}

}  // namespace levanter::cpu

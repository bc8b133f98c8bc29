// What a region's program becomes on this backend: tiles, registers, a product and vector kernels.
// Plain twin: src/ops/composite/fused.cpp.
#include "kernels/cpu/region.h"

#include <algorithm>

#include "base/error.h"
#include "kernels/cpu/cache.h"

namespace levanter::cpu {

namespace {

using kernels::RegionProgram;

/// The index in the vector table; 0 for what is not of it.
size_t function_of(const RegionProgram::Instruction& step) {
  using Kind = RegionProgram::Instruction::Kind;
  const bool tanh = step.gelu == Gelu::kTanh;
  switch (step.kind) {
    case Kind::kMap:
      return static_cast<size_t>(step.map);
    case Kind::kRound:
      return static_cast<size_t>(UnaryOp::kRoundBf16);
    case Kind::kGelu:
      return static_cast<size_t>(tanh ? UnaryOp::kGeluTanh : UnaryOp::kGeluErf);
    case Kind::kGeluGrad:
      return static_cast<size_t>(tanh ? BinaryOp::kGeluTanhGrad : BinaryOp::kGeluErfGrad);
    default:
      return 0;
  }
}

}  // namespace

Region::Region(Context& context, const Body& body, std::span<const ArrayInfo> inputs,
               std::span<const ArrayInfo> outputs, bool small_m)
    : context_(context), program_(body, inputs, outputs) {
  const int64_t rows = program_.rows, width = program_.width;
  tile_columns_ = program_.takes_rows ? width : std::min(width, kTileElements);
  if (tile_columns_ == width)
    tile_rows_ = std::clamp<int64_t>(kTileElements / width, 1, std::min(kTileRows, rows));
  piece_ = program_.takes_rows ? width : std::min(width, kTaskElements);
  if (program_.has_product()) add_product(body, inputs, small_m);
  tiled_ = product_ && program_.sum_count == 0 && product_->has_tiles(width, program_.takes_rows);
  block_rows_ = std::max(tile_rows_, kTaskElements / piece_ / tile_rows_ * tile_rows_);
  if (program_.sum_count > 0) block_rows_ = kBlockRows;
  for (const Instruction& step : program_.steps) function_.push_back(function_of(step));
  assign_registers();
}

/// The product's kernel, whose result is a matrix of the whole space.
void Region::add_product(const Body& body, std::span<const ArrayInfo> inputs, bool small_m) {
  KernelRequest request{body.graph.node(program_.product),
                        {},
                        {{DType::f32, View::row_major(program_.space), {}}},
                        small_m};
  for (const int factor : program_.factors)
    request.inputs.push_back(inputs[static_cast<size_t>(factor)]);
  product_ = make_tiled_dot(context_, request);
}

/// Whether an operand is more than the caches hold; what repeats counts as often as it is read.
bool Region::is_large(const Operand& operand) const {
  return program_.rows * program_.width * size_of(operand.dtype) >= kStreamedBytes;
}

/// One for each input that may have to be copied, the fewest for what is made, and one more where a
/// result becomes bf16 before it is written past the caches.
void Region::assign_registers() {
  const auto& slots = program_.slots;
  register_of_.assign(slots.size(), -1);
  for (size_t s = 0; s < slots.size(); ++s)
    if (slots[s].input >= 0 ? slots[s].loaded : slots[s].constant && slots[s].whole)
      register_of_[s] = static_cast<int>(register_count_++);
  std::vector<int> free;
  for (size_t i = 0; i < program_.steps.size(); ++i) {
    for (size_t s = 0; s < slots.size(); ++s) {
      const bool made = slots[s].input < 0 && !slots[s].constant && register_of_[s] >= 0;
      if (made && slots[s].last_use == static_cast<int>(i)) free.push_back(register_of_[s]);
    }
    if (program_.steps[i].out < 0) continue;
    const auto out = static_cast<size_t>(program_.steps[i].out);
    if (free.empty()) free.push_back(static_cast<int>(register_count_++));
    register_of_[out] = free.back();
    free.pop_back();
    if (slots[out].last_use < 0) free.push_back(register_of_[out]);  // a result that nothing reads
  }
  for (const Output& output : program_.outputs) {
    const Operand& to = output.operand;
    streams_.push_back(output.slot >= 0 && to.column_step == 1 && is_large(to));
    if (streams_.back() && to.dtype != DType::f32 && !stage_) stage_ = register_count_++;
  }
  register_floats_ = (tile_rows_ * tile_columns_ + 15) / 16 * 16;
}

/// Sums, then each worker's registers.
int64_t Region::own_bytes() const {
  const int64_t sums = program_.sum_count * ceil_div(program_.rows, kBlockRows) * program_.width;
  return align64(sums * 4) + context_.pool.threads() * register_count_ * register_floats_ * 4;
}

int64_t Region::workspace_bytes() const {
  if (!product_) return own_bytes();
  return own_bytes() + product_->workspace_bytes() +
         (tiled_ ? 0 : align64(program_.rows * program_.width * 4));
}

}  // namespace levanter::cpu

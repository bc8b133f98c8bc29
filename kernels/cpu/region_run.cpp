// Running a region's program.
// Plain twin: src/ops/composite/fused.cpp.
#include <algorithm>
#include <cstring>

#include "base/bf16.h"
#include "kernels/cpu/cache.h"
#include "kernels/cpu/region.h"

namespace levanter::cpu {

namespace {

const uint16_t* halves(const void* p) { return static_cast<const uint16_t*>(p); }
uint16_t* halves(void* p) { return static_cast<uint16_t*>(p); }

Centre centre_of(const kernels::RegionProgram::Instruction& norm) {
  return norm.centred ? Centre::kYes : Centre::kNo;
}

}  // namespace

/// What one worker knows while it runs a part.
struct Region::Frame {
  const VectorKernels& vector;
  const void* const* in;
  void* const* out;
  float* sums;
  float* registers;
  Tile product{};                       ///< or the whole of it
  std::array<bool, kOutputs> direct{};  ///< written by the instruction that makes the value
  bool repeats = false;                 ///< tiles are of several rows: what stays is loaded once
  std::array<const float*, kValues> at{};
  std::array<int64_t, kValues> step{};  ///< 1 for a span, 0 for one value
};

void Region::run(const void* const* in, void* const* out, void* workspace) const {
  const int64_t sum_floats =
      program_.sum_count * ceil_div(program_.rows, kBlockRows) * program_.width;
  float* const sums = floats(workspace);
  Frame frame{context_.vector, in, out, sums, sums + align64(sum_floats * 4) / 4};
  find_direct(frame);
  if (!product_) return run_all(frame);
  auto* const rest = static_cast<std::byte*>(workspace) + own_bytes();
  const void* const factors[] = {in[program_.factors[0]], in[program_.factors[1]]};
  if (!tiled_) {
    void* const matrix = rest;
    product_->run(factors, &matrix, rest + align64(program_.rows * program_.width * 4));
    frame.product = {0, 0, program_.rows, program_.width, floats(matrix)};
    return run_all(frame);
  }
  const auto take = [&](const Tile& tile, int worker) {
    Frame own = frame;
    own.registers += worker * register_count_ * register_floats_;
    own.product = tile;
    run_part(own, {tile.row, tile.rows, tile.column, tile.columns});
  };
  product_->run_tiles(factors, product_result(frame), rest, std::cref(take));
}

/// The output that is the product itself, if the product can be written there at once.
float* Region::product_result(const Frame& frame) const {
  for (size_t o = 0; o < program_.outputs.size(); ++o) {
    const Output& output = program_.outputs[o];
    if (output.slot < 0 || streams_[o] || !output.operand.dense ||
        output.operand.dtype != DType::f32 ||
        program_.slots[static_cast<size_t>(output.slot)].input != program_.product_operand())
      continue;
    const void* const* const end = frame.in + program_.input_views.size();
    if (std::find(frame.in, end, frame.out[o]) == end) return floats(frame.out[o]);
  }
  return nullptr;
}

/// Finds the outputs that may be written before the tile's other instructions are done: what lies
/// there has been read by then.
void Region::find_direct(Frame& frame) const {
  for (size_t o = 0; o < program_.outputs.size(); ++o) {
    if (program_.outputs[o].slot < 0) continue;
    const Slot& slot = program_.slots[static_cast<size_t>(program_.outputs[o].slot)];
    bool& direct = frame.direct[o];
    direct = slot.input < 0 && !slot.constant && program_.outputs[o].operand.dtype == DType::f32 &&
             !streams_[o];
    int made = 0;
    while (direct && program_.steps[static_cast<size_t>(made)].out != program_.outputs[o].slot)
      ++made;
    for (const Slot& other : program_.slots)
      if (other.input >= 0 && static_cast<size_t>(other.input) < program_.input_views.size() &&
          frame.in[other.input] == frame.out[o] && other.last_use > made)
        direct = false;
  }
}

void Region::run_all(const Frame& whole) const {
  const int64_t blocks = ceil_div(program_.rows, block_rows_),
                pieces = ceil_div(program_.width, piece_);
  context_.pool.parallel_for(blocks * pieces, [&](int64_t task, int worker) {
    const int64_t row = task / pieces * block_rows_, column = task % pieces * piece_;
    Frame frame = whole;
    frame.registers += worker * register_count_ * register_floats_;
    run_part(frame, {row, std::min(block_rows_, program_.rows - row), column,
                     std::min(piece_, program_.width - column)});
  });
  const int64_t sum_blocks = ceil_div(program_.rows, kBlockRows);
  for (size_t o = 0; o < program_.outputs.size(); ++o)
    if (const int sum = program_.outputs[o].sum; sum >= 0)
      context_.vector.sum_rows(floats(whole.out[o]), whole.sums + sum * sum_blocks * program_.width,
                               program_.width, sum_blocks, program_.width);
}

void Region::run_part(Frame& frame, const Part& part) const {
  const int64_t rows = part.columns == program_.width ? tile_rows_ : 1;
  const int64_t columns = std::min(tile_columns_, part.columns);
  frame.repeats = rows > 1;
  for (int64_t s = 0; s < program_.sum_count; ++s)
    std::fill_n(sums(frame, static_cast<int>(s), part), part.columns, 0.0f);
  const Part first{part.row, std::min(rows, part.rows), part.column, columns};
  for (size_t s = 0; s < program_.slots.size(); ++s) {
    const Slot& slot = program_.slots[s];
    if (slot.constant) {
      frame.at[s] = &slot.value;
      frame.step[s] = 0;
      if (slot.whole) {
        float* const to = frame.registers + register_of_[s] * register_floats_;
        std::fill_n(to, register_floats_, slot.value);
        frame.at[s] = to;
        frame.step[s] = 1;
      }
    } else if (slot.input >= 0 && slot.loaded && frame.repeats &&
               !program_.operands[static_cast<size_t>(slot.input)].moves) {
      load(frame, static_cast<int>(s), first);
    }
  }
  for (int64_t row = 0; row < part.rows; row += rows)
    for (int64_t column = 0; column < part.columns; column += columns) {
      const Part tile{part.row + row, std::min(rows, part.rows - row), part.column + column,
                      std::min(columns, part.columns - column)};
      for (size_t s = 0; s < program_.slots.size(); ++s) {
        const Slot& slot = program_.slots[s];
        if (slot.input < 0 || !slot.loaded) continue;
        if (!frame.repeats || program_.operands[static_cast<size_t>(slot.input)].moves)
          load(frame, static_cast<int>(s), tile);
      }
      if (const int64_t next = row + rows; next < part.rows)
        ask_for_tile({part.row + next, std::min(rows, part.rows - next), tile.column, tile.columns},
                     frame.in);
      for (size_t i = 0; i < program_.steps.size(); ++i) execute(frame, i, tile);
      for (size_t o = 0; o < program_.outputs.size(); ++o)
        if (program_.outputs[o].slot >= 0) store(frame, o, tile);
    }
  if (std::find(streams_.begin(), streams_.end(), true) != streams_.end()) finish_streams();
}

/// Asks for the rows that a tile reads of arrays that the caches do not hold.
void Region::ask_for_tile(const Part& tile, const void* const* in) const {
  for (const Slot& slot : program_.slots) {
    if (slot.input < 0 || !slot.loaded || slot.input == program_.product_operand()) continue;
    const Operand& o = program_.operands[static_cast<size_t>(slot.input)];
    if (!o.moves || o.column_step != 1 || !is_large(o)) continue;
    for (int64_t r = 0; r < tile.rows; ++r) {
      const int64_t at = o.rows.offset(tile.row + r) + tile.column;
      if (o.dtype == DType::f32)
        ask_for(floats(in[slot.input]) + at, tile.columns);
      else
        ask_for(halves(in[slot.input]) + at, tile.columns);
    }
  }
}

/// Lets the slot's pointer and step refer to the tile's elements: in memory, or copied.
void Region::load(Frame& frame, int index, const Part& tile) const {
  const auto s = static_cast<size_t>(index);
  const Slot& slot = program_.slots[s];
  const Operand& o = program_.operands[static_cast<size_t>(slot.input)];
  const bool one = o.column_step == 0 && (tile.rows == 1 || !o.moves);
  const int64_t offset = o.rows.offset(tile.row) + (o.column_step == 1 ? tile.column : int64_t{0});
  float* const to = frame.registers + register_of_[s] * register_floats_;
  frame.step[s] = one && !slot.whole ? 0 : 1;
  frame.at[s] = to;
  if (slot.input == program_.product_operand()) {
    const Tile& from = frame.product;
    frame.at[s] = from.values + (tile.row - from.row) * from.columns + tile.column - from.column;
    frame.step[s] = 1;
    return;
  }
  if (o.dtype == DType::f32) {
    const float* const from = floats(frame.in[slot.input]) + offset;
    if (frame.step[s] == 0 || (o.column_step == 1 && (tile.rows == 1 || o.dense))) {
      frame.at[s] = from;
      return;
    }
  } else {
    const uint16_t* const from = halves(frame.in[slot.input]) + offset;
    if (frame.step[s] == 0) return frame.vector.widen(to, from, 1);
    if (o.column_step == 1 && o.dense)
      return frame.vector.widen(to, from, tile.rows * tile.columns);
  }
  fill(frame, index, tile, to);
}

/// Copies an operand row by row.
void Region::fill(const Frame& frame, int index, const Part& tile, float* to) const {
  const Slot& slot = program_.slots[static_cast<size_t>(index)];
  const Operand& o = program_.operands[static_cast<size_t>(slot.input)];
  const void* const in = frame.in[slot.input];
  const auto at = [&](int64_t offset) {
    return o.dtype == DType::f32 ? floats(in)[offset]
                                 : static_cast<float>(static_cast<const Bf16*>(in)[offset]);
  };
  for (int64_t r = 0; r < tile.rows; ++r, to += tile.columns) {
    const int64_t row = o.rows.offset(tile.row + r);
    if (o.column_step == 0) {
      std::fill_n(to, tile.columns, at(row));
    } else if (o.column_step == 1 && o.dtype == DType::f32) {
      std::memcpy(to, floats(in) + row + tile.column, static_cast<size_t>(tile.columns) * 4);
    } else if (o.column_step == 1) {
      frame.vector.widen(to, halves(in) + row + tile.column, tile.columns);
    } else {
      for (int64_t c = 0; c < tile.columns; ++c)
        to[c] = at(row + o.columns.offset(tile.column + c));
    }
  }
}

/// Where the value of a slot goes: its register, or an output that takes it as it is.
float* Region::target(const Frame& frame, int slot, const Part& tile) const {
  for (size_t o = 0; o < program_.outputs.size(); ++o) {
    const Operand& to = program_.outputs[o].operand;
    if (program_.outputs[o].slot != slot || !frame.direct[o]) continue;
    if (to.column_step == 1 && (tile.rows == 1 || to.dense))
      return floats(frame.out[o]) + to.rows.offset(tile.row) + tile.column;
  }
  return frame.registers + register_of_[static_cast<size_t>(slot)] * register_floats_;
}

void Region::execute(Frame& frame, size_t index, const Part& tile) const {
  using Kind = Instruction::Kind;
  const Instruction& step = program_.steps[index];
  const int64_t n = tile.rows * tile.columns;
  if (step.kind == Kind::kSum)
    return frame.vector.add_rows(sums(frame, step.extra[0], tile),
                                 frame.at[static_cast<size_t>(step.in[0])], tile.columns, tile.rows,
                                 tile.columns);
  float* const y = target(frame, step.out, tile);
  switch (step.kind) {
    case Kind::kDropout:
      drop(frame, step, y, tile);
      break;
    case Kind::kNorm:
      norm(frame, step, y, tile);
      break;
    case Kind::kNormGrad:
      norm_grad(frame, step, y, tile);
      break;
    default:
      call(frame, index, y, n);
  }
  if (step.rounds) frame.vector.unary[static_cast<size_t>(UnaryOp::kRoundBf16)](y, y, n);
  frame.at[static_cast<size_t>(step.out)] = y;
  frame.step[static_cast<size_t>(step.out)] = 1;
}

/// An elementwise step over n elements.
void Region::call(const Frame& frame, size_t index, float* y, int64_t n) const {
  const Instruction& step = program_.steps[index];
  const size_t function = function_[index];
  const auto at = [&](size_t i) { return frame.at[static_cast<size_t>(step.in[i])]; };
  const auto by = [&](size_t i) { return frame.step[static_cast<size_t>(step.in[i])]; };
  switch (step.count) {
    case 1:
      frame.vector.unary[function](y, at(0), by(0) ? n : 1);
      if (!by(0)) std::fill_n(y + 1, n - 1, y[0]);
      break;
    case 2:
      frame.vector.binary[function](y, at(0), by(0), at(1), by(1), n);
      break;
    default:
      frame.vector.select(y, at(0), by(0), at(1), by(1), at(2), by(2), n);
  }
}

/// Each of the leading rows of the space has a key; the index within it counts.
void Region::drop(Frame& frame, const Instruction& step, float* y, const Part& tile) const {
  const int input = program_.slots[static_cast<size_t>(step.in[1])].input;
  const auto* const keys = static_cast<const uint32_t*>(frame.in[input]);
  const View& view = program_.input_views[static_cast<size_t>(input)];
  const size_t leading = view.axes.size() - 1;  // the last are the key's words
  const kernels::Dims rows(view, std::span(view.axes.begin(), leading));
  const int64_t word = view.strides[leading];
  const int64_t under_key = program_.rows * program_.width / (view.axes.elements() / 2);
  const float* x = frame.at[static_cast<size_t>(step.in[0])];
  int64_t index = tile.row * program_.width + tile.column, left = tile.rows * tile.columns;
  while (left > 0) {
    const int64_t at = rows.offset(index / under_key), counter = index % under_key;
    const int64_t count = std::min(left, under_key - counter);
    frame.vector.dropout(y, x, count, step.real,
                         {keys[at], keys[at + word], static_cast<uint64_t>(counter)});
    x += count;
    y += count;
    index += count;
    left -= count;
  }
}

void Region::norm(Frame& frame, const Instruction& step, float* y, const Part& tile) const {
  const auto at = [&](size_t i) {
    return step.in[i] < 0 ? nullptr : frame.at[static_cast<size_t>(step.in[i])];
  };
  float mean[kTileRows], rstd[kTileRows];
  frame.vector.layer_norm(y, mean, rstd, at(0), at(1), at(2), tile.rows, program_.width, step.real,
                          centre_of(step));
  for (size_t i = 0; i < 2; ++i) {
    if (step.extra[i] < 0) continue;
    const auto o = static_cast<size_t>(step.extra[i]);
    for (int64_t r = 0; r < tile.rows; ++r)
      floats(frame.out[o])[program_.outputs[o].operand.rows.offset(tile.row + r)] =
          (i == 0 ? mean : rstd)[r];
  }
}

void Region::norm_grad(Frame& frame, const Instruction& step, float* y, const Part& tile) const {
  const auto at = [&](size_t i) { return frame.at[static_cast<size_t>(step.in[i])]; };
  float room[2][kTileRows];
  const float* const mean = row_values(frame, step.in[2], tile, room[0]);
  const float* const rstd = row_values(frame, step.in[3], tile, room[1]);
  if (step.extra[0] >= 0)
    frame.vector.layer_norm_weight_block(sums(frame, step.extra[0], tile),
                                         sums(frame, step.extra[1], tile), at(4), at(0), mean, rstd,
                                         tile.rows, program_.width);
  frame.vector.layer_norm_backward(y, at(4), at(0), mean, rstd, at(1), tile.rows, program_.width,
                                   centre_of(step));
}

/// One f32 value a row, without gaps.
const float* Region::row_values(const Frame& frame, int slot, const Part& tile, float* room) const {
  const int input = program_.slots[static_cast<size_t>(slot)].input;
  const kernels::Dims& rows = program_.operands[static_cast<size_t>(input)].rows;
  const float* const in = floats(frame.in[input]);
  if (rows.linear() && rows.step() == 1) return in + tile.row;
  for (int64_t r = 0; r < tile.rows; ++r) room[r] = in[rows.offset(tile.row + r)];
  return room;
}

float* Region::sums(const Frame& frame, int sum, const Part& tile) const {
  const int64_t blocks = ceil_div(program_.rows, kBlockRows);
  return frame.sums + (sum * blocks + tile.row / kBlockRows) * program_.width + tile.column;
}

void Region::store(const Frame& frame, size_t index, const Part& tile) const {
  const Output& output = program_.outputs[index];
  const Operand& o = output.operand;
  void* const to = frame.out[index];
  const float* from = frame.at[static_cast<size_t>(output.slot)];
  const int64_t column = o.column_step == 1 ? tile.column : 0;
  for (int64_t r = 0; r < tile.rows; ++r, from += tile.columns) {
    const int64_t at = o.rows.offset(tile.row + r) + column;
    const int64_t n = o.dense ? tile.rows * tile.columns : tile.columns;
    const auto bytes = static_cast<size_t>(n * size_of(o.dtype));
    if (o.column_step != 1) {
      for (int64_t c = 0; c < tile.columns; ++c) {
        const int64_t offset = at + o.columns.offset(tile.column + c);
        if (o.dtype == DType::f32)
          floats(to)[offset] = from[c];
        else
          static_cast<Bf16*>(to)[offset] = from[c];
      }
    } else if (o.dtype != DType::f32 && streams_[index]) {
      auto* const narrowed = halves(frame.registers + *stage_ * register_floats_);
      frame.vector.narrow(narrowed, from, n);
      stream(halves(to) + at, narrowed, bytes);
    } else if (o.dtype != DType::f32) {
      frame.vector.narrow(halves(to) + at, from, n);
    } else if (floats(to) + at != from) {
      if (streams_[index])
        stream(floats(to) + at, from, bytes);
      else
        std::memcpy(floats(to) + at, from, bytes);
    }
    if (o.dense) return;
  }
}

}  // namespace levanter::cpu

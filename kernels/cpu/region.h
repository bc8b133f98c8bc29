// A fused region's program over tiles of f32 that stay in the first-level cache.
#pragma once

#include <optional>
#include <vector>

#include "kernels/cpu/dot.h"
#include "kernels/shared/region_program.h"

namespace levanter::cpu {

/// Values are registers of a few rows, or of a piece of one. Every result has the bits of the body
/// run node by node: the instructions are the same vector kernels, and sums over rows go by blocks
/// of kBlockRows, the blocks in order. A body may begin with a dot: its tiles are then taken one by
/// one while they are in the cache or, where a tile is not what the rest needs, from a matrix.
class Region final {
 public:
  /// The body's members, as the fuse pass makes them, with operands and results that lie like this.
  /// Sums and nothing else of the results must be row-major without gaps.
  Region(Context& context, const Body& body, std::span<const ArrayInfo> inputs,
         std::span<const ArrayInfo> outputs, bool small_m);

  int64_t workspace_bytes() const;
  bool in_place(size_t output, size_t input) const { return program_.in_place(output, input); }
  void run(const void* const* in, void* const* out, void* workspace) const;

 private:
  using Operand = kernels::RegionProgram::Operand;
  using Slot = kernels::RegionProgram::Slot;
  using Instruction = kernels::RegionProgram::Instruction;
  using Output = kernels::RegionProgram::Output;
  static constexpr size_t kValues = kernels::RegionProgram::kValues;
  static constexpr size_t kOutputs = kernels::RegionProgram::kOutputs;
  /// Elements of a register, unless rows are longer and go as a whole; and rows at most.
  static constexpr int64_t kTileElements = 1024, kTileRows = 64;

  struct Part {
    int64_t row, rows, column, columns;
  };
  struct Frame;

  void add_product(const Body& body, std::span<const ArrayInfo> inputs, bool small_m);
  void assign_registers();

  int64_t own_bytes() const;
  void run_all(const Frame& whole) const;
  void find_direct(Frame& frame) const;
  float* product_result(const Frame& frame) const;
  void run_part(Frame& frame, const Part& part) const;
  void load(Frame& frame, int slot, const Part& tile) const;
  void fill(const Frame& frame, int slot, const Part& tile, float* to) const;
  void execute(Frame& frame, size_t index, const Part& tile) const;
  void call(const Frame& frame, size_t index, float* y, int64_t n) const;
  void drop(Frame& frame, const Instruction& step, float* y, const Part& tile) const;
  void norm(Frame& frame, const Instruction& step, float* y, const Part& tile) const;
  void norm_grad(Frame& frame, const Instruction& step, float* y, const Part& tile) const;
  const float* row_values(const Frame& frame, int slot, const Part& tile, float* room) const;
  float* target(const Frame& frame, int slot, const Part& tile) const;
  void ask_for_tile(const Part& tile, const void* const* in) const;
  bool is_large(const Operand& operand) const;
  void store(const Frame& frame, size_t output, const Part& tile) const;
  float* sums(const Frame& frame, int sum, const Part& tile) const;

  Context& context_;
  kernels::RegionProgram program_;
  std::unique_ptr<TiledDot> product_;
  bool tiled_ = false;  ///< the product is taken tile by tile
  int64_t tile_rows_ = 1, tile_columns_ = 1, block_rows_ = 1, piece_ = 1;
  int64_t register_count_ = 0, register_floats_ = 0;
  std::vector<int> register_of_;  ///< by slot; -1: none
  std::vector<bool> streams_;     ///< by output: it is written past the caches
  std::optional<int64_t> stage_;  ///< the register where what is streamed becomes bf16
  std::vector<size_t> function_;  ///< by step: in the vector table, where it is elementwise
};

}  // namespace levanter::cpu

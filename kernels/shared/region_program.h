// A fused region of elementwise and row arithmetic as a straight-line program, whatever runs it.
#pragma once

#include <array>
#include <vector>

#include "device/backend.h"
#include "kernels/shared/strides.h"
#include "ops/ops.h"

namespace levanter::kernels {

/// The space is seen as rows of `width` columns: its last axes, which layer norms and sums fix, are
/// the columns. Values are f32; bf16 is widened when loaded, rounded where the body says so and
/// narrowed when stored. A body may hold a dot, whose result is then one more operand.
struct RegionProgram {
  static constexpr size_t kValues = 64, kOutputs = 8;

  struct Operand {
    DType dtype;
    Dims rows, columns;
    bool moves;           ///< from row to row
    bool dense;           ///< rows without gaps, one after the other
    int64_t column_step;  ///< -1: columns do not lie evenly
    int64_t offset;       ///< of the view in its buffer, which the operand's address includes
  };

  /// What an instruction reads: an operand, a constant or what another one made.
  struct Slot {
    int input = -1;  ///< among the operands
    bool constant = false;
    bool loaded = false;  ///< read element by element
    bool whole = false;   ///< by an instruction that goes over rows, or by a result
    int last_use = -1;    ///< among the steps, at the end of which results are read
    float value = 0;      ///< of a constant
  };

  /// Reads the slots `in`, of which the first `count` count, and writes the slot `out`:
  ///   kMap       what `map` says
  ///   kRound     in[0], to bf16
  ///   kGelu      of in[0]
  ///   kGeluGrad  cotangent in[0], at in[1]
  ///   kDropout   in[0], kept with probability `real`; in[1] are keys, read in place
  ///   kNorm      a layer norm of in[0], weight in[1], bias in[2] if any, epsilon `real`
  ///   kNormGrad  its gradient: x in[0], weight in[1], cotangent in[4]; mean and 1 / standard
  ///              deviation in[2] and in[3], read in place; and two sums, or none
  ///   kSum       a sum of in[0] over the rows, and no slot
  struct Instruction {
    enum class Kind : uint8_t { kMap, kRound, kGelu, kGeluGrad, kDropout, kNorm, kNormGrad, kSum };
    Kind kind = Kind::kMap;
    Map map = Map::kNeg;
    Gelu gelu = Gelu::kTanh;
    bool rounds = false;  ///< the result, to bf16
    bool centred = true;  ///< of a norm
    float real = 0;
    std::array<int, 5> in{-1, -1, -1, -1, -1};
    size_t count = 0;
    int out = -1;
    /// Of a norm: outputs for mean and 1 / standard deviation, or -1. Of its gradient and of a sum:
    /// sums.
    std::array<int, 2> extra{-1, -1};
  };

  struct Output {
    Operand operand;
    int slot = -1;  ///< over the whole space
    int sum = -1;   ///< or over columns
  };

  /// The body's members, as the fuse pass makes them, with operands and results that lie like this.
  /// Sums and nothing else of the results must be row-major without gaps.
  RegionProgram(const Body& body, std::span<const ArrayInfo> inputs,
                std::span<const ArrayInfo> results);

  /// Whether `output` may lie over `input`.
  bool in_place(size_t output, size_t input) const;
  bool has_product() const { return factors[0] >= 0; }
  /// Which operand the product is: the one after the inputs.
  int product_operand() const { return static_cast<int>(input_views.size()); }

  Axes space;
  size_t row_axes = 0;  ///< how many of the space's axes make the rows
  int64_t rows = 1, width = 1;
  bool takes_rows = false;             ///< whole
  NodeId product = 0;                  ///< the dot in the body, where it has one
  std::array<int, 2> factors{-1, -1};  ///< the product's, among the inputs
  std::vector<Operand> operands;       ///< the inputs, then the product
  std::vector<View> input_views;
  std::vector<Slot> slots;
  std::vector<Instruction> steps;
  std::vector<Output> outputs;
  int64_t sum_count = 0;

 private:
  void find_columns(const Body& body, std::span<const ArrayInfo> inputs,
                    std::span<const ArrayInfo> results);
  bool lie_evenly(std::span<const ArrayInfo> arrays, size_t row_count) const;
  Operand operand(const ArrayInfo& info) const;
  void find_product(const Body& body);
  void compile(const Body& body);
  void add_instruction(const Body& body, NodeId id, const std::vector<int>& slot_of);
  void choose_kind(const Body& body, NodeId id, Instruction& step);
  int use(int slot, bool whole);
};

/// A request's one node as a region of its own.
Body body_of(const KernelRequest& request);

}  // namespace levanter::kernels

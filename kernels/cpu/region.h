// A region of elementwise and row arithmetic as a straight-line program over tiles of f32 that stay
// in the first-level cache.
#pragma once

#include <array>
#include <vector>

#include "kernels/cpu/dot.h"

namespace levanter::cpu {

/// The space is seen as rows of `width` columns: its last axes, which layer norms and sums fix, are
/// the columns. Values are registers of a few rows, or of a piece of one; bf16 is widened when
/// loaded, rounded where the body says so and narrowed when stored. Every result has the bits of
/// the body run node by node: the instructions are the same vector kernels, and sums over rows go
/// by blocks of kBlockRows, the blocks in order. A body may begin with a dot: its tiles are then
/// taken one by one while they are in the cache or, where a tile is not what the rest needs, from a
/// matrix.
class Region final {
 public:
  /// The body's members, as the fuse pass makes them, with operands and results that lie like this.
  /// Sums and nothing else of the results must be row-major without gaps.
  Region(Context& context, const Body& body, std::span<const ArrayInfo> inputs,
         std::span<const ArrayInfo> outputs, bool few_rows);

  int64_t workspace_bytes() const;
  /// Whether `output` may lie over `input`.
  bool in_place(size_t output, size_t input) const;
  void run(const void* const* in, void* const* out, void* workspace) const;

 private:
  static constexpr size_t kValues = 64, kOutputs = 8;
  /// Elements of a register, unless rows are longer and go as a whole; and rows at most.
  static constexpr int64_t kTileElements = 1024, kTileRows = 64;

  /// Neighbouring axes flattened as far as an operand's strides allow.
  struct Dims {
    struct Dim {
      int64_t size, stride;
    };
    Dims(const View& view, std::span<const Axis> axes);
    /// One stride for all; 0 where nothing moves.
    bool linear() const { return count <= 1; }
    int64_t step() const { return count == 0 ? 0 : dims[0].stride; }
    int64_t offset(int64_t index) const;
    std::array<Dim, Axes::kMaxAxes> dims{};
    size_t count = 0;
  };

  struct Operand {
    DType dtype;
    Dims rows, columns;
    bool moves;           ///< from row to row
    bool dense;           ///< rows without gaps, one after the other
    int64_t column_step;  ///< -1: columns do not lie evenly
  };

  /// What an instruction reads: an input, a constant or what another one made.
  struct Slot {
    int input = -1;
    int reg = -1;
    bool constant = false;
    bool loaded = false;  ///< an input that is read element by element
    bool whole = false;   ///< must be spread over its tile
    int last_use = -1;
    float value = 0;
  };

  struct Instruction {
    enum class Kind : uint8_t { kUnary, kBinary, kSelect, kDropout, kNorm, kNormGrad, kSum };
    Kind kind = Kind::kUnary;
    bool rounds = false;  ///< the result, to bf16
    size_t index = 0;     ///< in the vector table
    std::array<int, 5> in{-1, -1, -1, -1, -1};
    int out = -1;
    /// Outputs for mean and 1 / standard deviation; or the first of its sums.
    std::array<int, 2> extra{-1, -1};
    float real = 0;
    Centre centre = Centre::kYes;  ///< of a norm
  };

  struct Output {
    Operand operand;
    int slot = -1;  ///< over the whole space
    int sum = -1;   ///< or over columns
  };

  struct Part {
    int64_t row, rows, column, columns;
  };
  struct Frame;

  void find_columns(const Body& body, std::span<const ArrayInfo> inputs,
                    std::span<const ArrayInfo> outputs);
  bool lie_evenly(std::span<const ArrayInfo> arrays, size_t rows) const;
  Operand operand(const ArrayInfo& info) const;
  void add_product(const Body& body, std::span<const ArrayInfo> inputs, bool few_rows);
  void compile(const Body& body);
  void add_instruction(const Body& body, NodeId id, const std::vector<int>& slot_of);
  int use(int slot, bool whole);
  void assign_registers();

  int64_t own_bytes() const;
  void run_all(const Frame& whole) const;
  void find_direct(Frame& frame) const;
  float* product_result(const Frame& frame) const;
  void run_part(Frame& frame, const Part& part) const;
  void load(Frame& frame, int slot, const Part& tile) const;
  void fill(const Frame& frame, int slot, const Part& tile, float* to) const;
  void execute(Frame& frame, const Instruction& step, const Part& tile) const;
  void drop(Frame& frame, const Instruction& step, float* y, const Part& tile) const;
  void norm(Frame& frame, const Instruction& step, float* y, const Part& tile) const;
  void norm_grad(Frame& frame, const Instruction& step, float* y, const Part& tile) const;
  const float* row_values(const Frame& frame, int slot, const Part& tile, float* room) const;
  float* target(const Frame& frame, int slot, const Part& tile) const;
  void store(const Frame& frame, const Output& output, void* to, const Part& tile) const;
  float* sums(const Frame& frame, int sum, const Part& tile) const;

  Context& context_;
  std::unique_ptr<TiledDot> product_;
  std::array<int, 2> factors_{-1, -1};  ///< the product's, among the inputs
  bool tiled_ = false;                  ///< the product is taken tile by tile
  Axes space_;
  size_t row_axes_ = 0;  ///< how many of the space's axes make the rows
  int64_t rows_ = 0, width_ = 0;
  bool takes_rows_ = false;  ///< whole
  int64_t tile_rows_ = 1, tile_columns_ = 1, block_rows_ = 1, piece_ = 1;
  int64_t sum_count_ = 0, register_count_ = 0, register_floats_ = 0;
  std::vector<Operand> operands_;
  std::vector<View> input_views_;
  std::vector<Slot> slots_;
  std::vector<Instruction> program_;
  std::vector<Output> outputs_;
};

}  // namespace levanter::cpu

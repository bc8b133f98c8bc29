// What an op is: the record each file of src/ops fills in, and the record each node carries.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "axes/axes.h"

namespace levanter {

class Graph;
class NamedArray;
struct Node;
struct GradientCall;

/// The attributes of a node: one small record for every op. An op that uses code, ints, reals or
/// values has a struct that gives them names (ops/attributes.h); nothing else reads or writes them.
struct Attributes {
  int32_t code = 0;  ///< an opcode or an enum of the op
  AxisName axis{};   ///< the axis that the op is about
  Axes axes{};       ///< axes that the op is about
  std::array<int64_t, 4> ints{};
  std::array<double, 4> reals{};
  std::shared_ptr<const std::vector<double>> values{};  ///< of a literal; equal when it is the same
  bool operator==(const Attributes&) const = default;
};

/// The same for equal attributes, but that it tells -0 from 0.
size_t hash_of(const Attributes& attributes);

/// Arithmetic that one node does; bytes follow from the types.
struct Cost {
  double flops = 0;
};

/// How a value lies in a buffer: element [i, j, ...] is at offset + i strides[0] + j strides[1] ...
struct View {
  Axes axes;
  std::array<int64_t, Axes::kMaxAxes> strides{};  ///< in elements; 0 repeats
  int64_t offset = 0;                             ///< in elements

  static View row_major(const Axes& axes) { return {axes, row_major_strides(axes), 0}; }
  /// Row-major without gaps, whatever the offset.
  bool is_contiguous() const;
};

/// When remat keeps a value that the backward pass needs.
enum class SaveClass {
  kCheap,  ///< recomputed by `save_dots` and `full`
  kDot,    ///< kept by `save_dots`: a product or something as dear
};

/// What a node brings to a region of neighbours that run as one; see `fuse`.
struct Fusion {
  Axes space;            ///< that its arithmetic runs over
  Axes row = {};         ///< the last axes of it that the node takes together; empty: none
  bool sums = false;     ///< sums over the other axes
  bool product = false;  ///< a product, whose tiles the others take: the first of its region
};

/// One kind of op. Each file of src/ops defines one as `<name>_entry`.
struct Op {
  const char* name = "";
  const char* summary = "";
  /// The types of the outputs; throws through `type_error` when the inputs do not fit.
  std::vector<Type> (*infer)(const Attributes&, std::span<const Type> inputs) = nullptr;
  /// Appends the cotangents of the inputs to the graph; null for an op without a gradient.
  void (*gradient)(GradientCall&) = nullptr;
  /// The same outputs from simpler ops; null for a primitive.
  std::vector<NamedArray> (*decompose)(Graph&, const Node&,
                                       std::span<const NamedArray> inputs) = nullptr;
  /// Whether that takes bf16 operands as they are; where not, they are widened first.
  bool decomposes_bf16 = false;
  /// Arithmetic of a node; null for none worth counting.
  Cost (*cost)(const Node&, std::span<const Type> inputs) = nullptr;
  SaveClass save_class = SaveClass::kCheap;
  /// The cotangent of its bf16 output stays f32: it is a parameter's gradient on its way.
  bool wide_cotangent = false;
  /// Output `output` as strides and an offset over input 0's memory; null for an op that computes.
  View (*view)(const Node&, const View& input, size_t output) = nullptr;
  /// How a node of f32 or bf16 may be one of a region; null for an op that never may. A backend
  /// that runs regions has an instruction for each op that has this.
  std::optional<Fusion> (*fusion)(const Node&, std::span<const Type> inputs) = nullptr;
};

/// Throws the error for operands that an op cannot take. The graph adds module path and line.
[[noreturn]] void type_error(std::string message);

}  // namespace levanter

// How axes of a view lie in memory: alone, as one axis, or flattened as far as they allow.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>

#include "graph/op.h"

namespace levanter::kernels {

/// 0 for an axis that the view lacks.
inline int64_t stride_of(const View& view, AxisName name) {
  const int at = view.axes.find(name);
  return at < 0 ? 0 : view.strides[static_cast<size_t>(at)];
}

/// The stride of `axes` seen as one axis, innermost last; none when they do not lie like that.
std::optional<int64_t> merged_stride(const View& view, const Axes& axes);

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

}  // namespace levanter::kernels

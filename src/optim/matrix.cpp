// Parameters seen as matrices, and Newton-Schulz iterations on them.
#include "optim/matrix.h"

#include <algorithm>
#include <array>
#include <vector>

#include "base/error.h"
#include "base/strings.h"

namespace levanter::optim {

namespace {

constexpr const char* kOther = "other_row";  // a second index of the same axis

/// The parameter's axes that each axis of its shape in files is made of.
std::vector<Axes> axes_by_shape(const nn::Param& param) {
  std::vector<Axes> groups;
  int64_t left = 1;
  for (const Axis& axis : param.type.axes) {
    if (left == 1 && groups.size() < param.shape.size()) {
      left = param.shape[groups.size()];
      groups.emplace_back();
    }
    groups.back().push_back(axis);
    left /= std::max<int64_t>(axis.size, 1);
  }
  return groups;
}

/// What to_matrices calls the axis `i` of the parameter's shape.
AxisName name_of(const nn::Param& param, size_t i) {
  const size_t from_end = param.shape.size() - i;
  if (from_end == 1) return kColumn;
  return from_end == 2 ? AxisName(kRow) : AxisName(cat("stack", i));
}

}  // namespace

bool is_matrix(const nn::Param& param) { return param.shape.size() >= 2; }

bool is_hidden_matrix(const nn::Param& param) { return is_matrix(param) && !param.in.empty(); }

Axes matrix_axes(const nn::Param& param) {
  Axes axes;
  for (size_t i = 0; i < param.shape.size(); ++i)
    axes.push_back({name_of(param, i), param.shape[i]});
  return axes;
}

NamedArray to_matrices(NamedArray x, const nn::Param& param) {
  const std::vector<Axes> groups = axes_by_shape(param);
  for (size_t i = 0; i < groups.size(); ++i)
    x = groups[i].size() == 1 ? rename(x, groups[i][0].name, name_of(param, i))
                              : merge_axes(x, groups[i], name_of(param, i));
  return x;
}

NamedArray from_matrices(NamedArray x, const nn::Param& param) {
  const std::vector<Axes> groups = axes_by_shape(param);
  for (size_t i = 0; i < groups.size(); ++i)
    x = groups[i].size() == 1 ? rename(x, name_of(param, i), groups[i][0].name)
                              : split_axis(x, name_of(param, i), groups[i]);
  return x;
}

std::vector<Side> sides_of(const nn::Param& param) {
  std::vector<Side> sides;
  for (const Axis& axis : matrix_axes(param)) {
    if (axis.name == AxisName(kRow)) sides.push_back({axis, kOther, kRow});
    if (axis.name == AxisName(kColumn)) sides.push_back({axis, "other_column", kColumn});
  }
  return sides;
}

Axes stack_of(const nn::Param& param) {
  return without(without(matrix_axes(param), kRow), kColumn);
}

StateArray state_over(const nn::Param& param, const std::string& name, const Axes& axes,
                      StateArray::Begin begin) {
  std::vector<int64_t> shape;
  for (const Axis& axis : axes) shape.push_back(axis.size);
  return {name, {param.type.dtype, axes}, shape, begin, StateArray::Average::kNo};
}

NamedArray multiply(NamedArray a, NamedArray x, const Side& side) {
  const Axis other{side.other, side.axis.size};
  return rename(dot(a, x, replace(x.axes(), side.axis.name, {other})), other.name, side.axis.name);
}

NamedArray multiply_transposed(NamedArray a, NamedArray x, const Side& side) {
  return dot(a, rename(x, side.axis.name, side.other), x.axes());
}

NamedArray gram(NamedArray x, const Side& side, const Axes& stack) {
  Axes axes = stack;
  axes.push_back({side.other, side.axis.size});
  axes.push_back(side.axis);
  return dot(rename(x, side.axis.name, side.other), x, axes);
}

double out_over_in(const nn::Param& param) {
  const double in = static_cast<double>(param.in.elements());
  double matrix = 1;
  for (size_t i = param.shape.size() - 2; i < param.shape.size(); ++i)
    matrix *= static_cast<double>(param.shape[i]);
  return matrix / in / in;
}

NamedArray orthogonalise(NamedArray g, int64_t steps, double epsilon) {
  constexpr double kA = 3.4445, kB = -4.7750, kC = 2.0315;
  const Axis row{kRow, g.axes().size_of(kRow)}, column{kColumn, g.axes().size_of(kColumn)};
  const Axis small = row.size <= column.size ? row : column;
  const Axis other{kOther, small.size};
  Axes square;  // [stack..., small, other]
  for (const Axis& axis : without(without(g.axes(), kRow), kColumn)) square.push_back(axis);
  square.push_back(small);
  square.push_back(other);
  const auto shifted = [&](NamedArray x, const char* to) { return rename(x, small.name, to); };
  NamedArray x = g / (sqrt(sum(g * g, {row, column})) + epsilon);
  for (int64_t i = 0; i < steps; ++i) {
    const NamedArray a = dot(x, shifted(x, kOther), square);
    // a a: the second factor's rows are the first one's columns.
    const NamedArray next = rename(rename(a, kOther, "summed"), small.name, kOther);
    const NamedArray squared =
        rename(dot(a, next, replace(square, kOther, {{"summed", small.size}})), "summed", kOther);
    const NamedArray b = a * kB + squared * kC;
    x = x * kA + dot(b, shifted(x, kOther), g.axes());
  }
  return x;
}

}  // namespace levanter::optim

// Named axes: interned names, a name with a size, small ordered sets of them, and typed shapes.
#pragma once

#include <array>
#include <cstdint>
#include <initializer_list>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "axes/dtype.h"

namespace levanter {

/// An interned axis name: comparing two is comparing two integers. Safe from any thread.
class AxisName {
 public:
  AxisName() = default;
  AxisName(std::string_view text);  // NOLINT: names are written as strings everywhere
  AxisName(const char* text) : AxisName(std::string_view(text)) {}
  AxisName(const std::string& text) : AxisName(std::string_view(text)) {}

  std::string_view text() const;
  uint32_t id() const { return id_; }
  bool operator==(const AxisName&) const = default;

 private:
  uint32_t id_ = 0;  // 0 is the empty name
};

struct Axis {
  AxisName name;
  int64_t size = 0;
  bool operator==(const Axis&) const = default;
};

/// At most kMaxAxes axes with unique names. The order is the row-major layout, never identity.
class Axes {
 public:
  static constexpr size_t kMaxAxes = 8;

  Axes() = default;
  Axes(std::initializer_list<Axis> axes);
  explicit Axes(std::span<const Axis> axes);

  size_t size() const { return count_; }
  bool empty() const { return count_ == 0; }
  const Axis& operator[](size_t i) const { return axes_[i]; }
  const Axis* begin() const { return axes_.data(); }
  const Axis* end() const { return axes_.data() + count_; }

  /// Adds an axis at the end; its name must be new and the size at least 0.
  void push_back(Axis axis);
  /// The index of the axis called `name`, or -1.
  int find(AxisName name) const;
  bool contains(AxisName name) const { return find(name) >= 0; }
  /// The size of the axis called `name`, which must exist.
  int64_t size_of(AxisName name) const;
  /// The product of all sizes; 1 for a scalar.
  int64_t elements() const;

  /// Same axes in the same order.
  bool operator==(const Axes& other) const;

 private:
  std::array<Axis, kMaxAxes> axes_{};
  size_t count_ = 0;
};

/// "{batch 12, position 64}".
std::string to_string(const Axes& axes);

/// Every axis of `a` occurs in `b` with the same size, in any order.
bool is_subset(const Axes& a, const Axes& b);
/// The axes of `a` whose names are not in `b`, in a's order.
Axes without(const Axes& a, const Axes& b);
Axes without(const Axes& a, AxisName name);
/// a's axes, then those of `b` that `a` lacks. Sizes of shared names must agree.
Axes unite(const Axes& a, const Axes& b);
/// The axes of `a` whose names occur in `b`, in a's order.
Axes intersect(const Axes& a, const Axes& b);
/// `a` with the axis `name` replaced by `with`, in place.
Axes replace(const Axes& a, AxisName name, const Axes& with);

/// An element type and named axes: all that is known of a value while tracing.
struct Type {
  DType dtype = DType::f32;
  Axes axes;
  int64_t elements() const { return axes.elements(); }
  int64_t bytes() const { return axes.elements() * levanter::size_of(dtype); }
  bool operator==(const Type&) const = default;
};

/// "f32 {batch 12, position 64}".
std::string to_string(const Type& type);

/// The strides of a row-major array over `axes`, in elements.
std::array<int64_t, Axes::kMaxAxes> row_major_strides(const Axes& axes);

}  // namespace levanter

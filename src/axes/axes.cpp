// Interned axis names, sets of named axes, and how they are looked up, compared and printed.
#include "axes/axes.h"

#include <deque>
#include <map>
#include <mutex>

#include "base/error.h"
#include "base/strings.h"

namespace levanter {

namespace {

/// All names ever seen; a deque keeps the texts where they are.
struct NameTable {
  std::mutex mutex;
  std::deque<std::string> texts{""};
  std::map<std::string_view, uint32_t> ids;
};

NameTable& names() {
  static NameTable table;
  return table;
}

}  // namespace

AxisName::AxisName(std::string_view text) {
  if (text.empty()) return;
  NameTable& table = names();
  const std::lock_guard lock(table.mutex);
  if (const auto found = table.ids.find(text); found != table.ids.end()) {
    id_ = found->second;
    return;
  }
  id_ = static_cast<uint32_t>(table.texts.size());
  table.texts.emplace_back(text);
  table.ids.emplace(table.texts.back(), id_);
}

std::string_view AxisName::text() const {
  NameTable& table = names();
  const std::lock_guard lock(table.mutex);
  return table.texts[id_];
}

Axes::Axes(std::initializer_list<Axis> axes) : Axes(std::span(axes.begin(), axes.size())) {}

Axes::Axes(std::span<const Axis> axes) {
  for (const Axis& axis : axes) push_back(axis);
}

void Axes::push_back(Axis axis) {
  LEV_CHECK(axis.size >= 0, cat("axis ", axis.name.text(), " has the negative size ", axis.size));
  LEV_CHECK(count_ < kMaxAxes, cat("more than ", kMaxAxes, " axes: ", to_string(*this)));
  LEV_CHECK(!contains(axis.name), cat("axis ", axis.name.text(), " twice in ", to_string(*this)));
  axes_[count_++] = axis;
}

int Axes::find(AxisName name) const {
  for (size_t i = 0; i < count_; ++i)
    if (axes_[i].name == name) return static_cast<int>(i);
  return -1;
}

int64_t Axes::size_of(AxisName name) const {
  const int i = find(name);
  LEV_CHECK(i >= 0, cat("no axis ", name.text(), " in ", to_string(*this)));
  return axes_[static_cast<size_t>(i)].size;
}

int64_t Axes::elements() const {
  int64_t product = 1;
  for (const Axis& axis : *this) product *= axis.size;
  return product;
}

bool Axes::operator==(const Axes& other) const {
  if (count_ != other.count_) return false;
  for (size_t i = 0; i < count_; ++i)
    if (axes_[i] != other.axes_[i]) return false;
  return true;
}

std::string to_string(const Axes& axes) {
  std::string text = "{";
  for (const Axis& axis : axes)
    text += cat(text.size() > 1 ? ", " : "", axis.name.text(), " ", axis.size);
  return text + "}";
}

bool is_subset(const Axes& a, const Axes& b) {
  for (const Axis& axis : a) {
    const int i = b.find(axis.name);
    if (i < 0 || b[static_cast<size_t>(i)].size != axis.size) return false;
  }
  return true;
}

Axes without(const Axes& a, const Axes& b) {
  Axes rest;
  for (const Axis& axis : a)
    if (!b.contains(axis.name)) rest.push_back(axis);
  return rest;
}

Axes without(const Axes& a, AxisName name) { return without(a, Axes{{name, 1}}); }

Axes unite(const Axes& a, const Axes& b) {
  Axes all = a;
  for (const Axis& axis : b) {
    const int i = a.find(axis.name);
    if (i < 0) {
      all.push_back(axis);
    } else {
      LEV_CHECK(
          a[static_cast<size_t>(i)].size == axis.size,
          cat("axis ", axis.name.text(), " has two sizes: ", to_string(a), " and ", to_string(b)));
    }
  }
  return all;
}

Axes intersect(const Axes& a, const Axes& b) {
  Axes shared;
  for (const Axis& axis : a)
    if (b.contains(axis.name)) shared.push_back(axis);
  return shared;
}

Axes replace(const Axes& a, AxisName name, const Axes& with) {
  Axes result;
  for (const Axis& axis : a) {
    if (axis.name != name) {
      result.push_back(axis);
    } else {
      for (const Axis& piece : with) result.push_back(piece);
    }
  }
  return result;
}

std::string to_string(const Type& type) {
  return cat(name_of(type.dtype), " ", to_string(type.axes));
}

std::array<int64_t, Axes::kMaxAxes> row_major_strides(const Axes& axes) {
  std::array<int64_t, Axes::kMaxAxes> strides{};
  int64_t stride = 1;
  for (size_t i = axes.size(); i-- > 0;) {
    strides[i] = stride;
    stride *= axes[i].size;
  }
  return strides;
}

}  // namespace levanter

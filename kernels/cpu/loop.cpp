// Flattens a space of named axes: axes that all operands walk with one stride become one loop.
#include "kernels/cpu/loop.h"

namespace levanter::cpu {

Loop::Loop(const Axes& space, std::span<const View> operands) {
  std::array<Dim, Axes::kMaxAxes> dims{};
  size_t count = 0;
  for (const Axis& axis : space) {
    if (axis.size == 1) continue;
    Dim dim{axis.size, {}};
    for (size_t o = 0; o < operands.size(); ++o) {
      const int at = operands[o].axes.find(axis.name);
      dim.strides[o] = at < 0 ? 0 : operands[o].strides[static_cast<size_t>(at)];
    }
    bool merges = count > 0;
    for (size_t o = 0; merges && o < operands.size(); ++o)
      merges = dims[count - 1].strides[o] == dim.strides[o] * dim.size;
    if (merges) {
      dim.size *= dims[count - 1].size;
      dims[count - 1] = dim;
    } else {
      dims[count++] = dim;
    }
  }
  if (count > 0) {
    width_ = dims[count - 1].size;
    inner_ = dims[count - 1].strides;
    outer_count_ = count - 1;
  } else {
    width_ = space.elements();
  }
  for (size_t i = 0; i < outer_count_; ++i) {
    outer_[i] = dims[i];
    rows_ *= dims[i].size;
  }
}

Loop::Offsets Loop::offsets(int64_t row) const {
  Offsets at{};
  for (size_t i = outer_count_; i-- > 0;) {
    const int64_t index = row % outer_[i].size;
    row /= outer_[i].size;
    for (size_t o = 0; o < kOperands; ++o) at[o] += index * outer_[i].strides[o];
  }
  return at;
}

}  // namespace levanter::cpu

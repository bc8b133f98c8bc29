// Named axes and views as kernels take them: sizes and strides.
#include "kernels/cuda/spaces.h"

#include "base/error.h"
#include "base/strings.h"

namespace levanter::cuda {

namespace {

/// Whether the axis `size`, along which the operands move by `strides`, goes on where the space's
/// last axis ends.
bool continues(const Space& space, int64_t size, const long long* strides) {
  if (space.rank == 0) return false;
  for (int o = 0; o < Space::kOperands; ++o)
    if (space.strides[o][space.rank - 1] != strides[o] * size) return false;
  return true;
}

/// With 2^s the smallest power of two that is at least the size n, factor = ceil(2^(63 + s) / n)
/// is below 2^64, and floor(x factor / 2^(63 + s)) = floor(x / n) for x < 2^63. By a size of 1,
/// which only a space of one element has, nobody divides.
void set_division(Space& space, int axis) {
  __extension__ using Wide = unsigned __int128;
  const auto size = static_cast<Wide>(space.sizes[axis]);
  if (size == 1) return;
  int power = 1;
  while ((Wide{1} << power) < size) ++power;
  const Wide factor = ((Wide{1} << (63 + power)) + size - 1) / size;
  space.factors[axis] = static_cast<unsigned long long>(factor);
  space.shifts[axis] = power - 1;
}

}  // namespace

Space make_space(const Axes& axes, std::span<const View* const> operands) {
  LEV_CHECK(operands.size() <= Space::kOperands, "more operands than a space has room for");
  Space space{};
  space.count = axes.elements();
  for (const Axis& axis : axes) {
    if (axis.size == 1) continue;
    long long strides[Space::kOperands] = {};
    for (size_t o = 0; o < operands.size(); ++o) {
      const int at = operands[o]->axes.find(axis.name);
      if (at >= 0) strides[o] = operands[o]->strides[static_cast<size_t>(at)];
    }
    if (continues(space, axis.size, strides)) {
      space.sizes[space.rank - 1] *= axis.size;
    } else {
      space.sizes[space.rank] = axis.size;
      ++space.rank;
    }
    for (int o = 0; o < Space::kOperands; ++o) space.strides[o][space.rank - 1] = strides[o];
  }
  if (space.rank == 0) {
    space.sizes[0] = 1;
    space.rank = 1;
  }
  for (int i = 0; i < space.rank; ++i) set_division(space, i);
  return space;
}

Element element_of(DType dtype) {
  switch (dtype) {
    case DType::f32:
      return Element::kF32;
    case DType::bf16:
      return Element::kBf16;
    case DType::i32:
      return Element::kI32;
    case DType::u32:
      return Element::kU32;
    case DType::i8:
      return Element::kI8;
    case DType::f64:
      break;
  }
  throw Error(ErrorKind::kInternal, cat("device cuda has no kernels for ", name_of(dtype)));
}

}  // namespace levanter::cuda

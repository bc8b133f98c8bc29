// Named axes and views as kernels take them: sizes and strides.
#pragma once

#include <initializer_list>
#include <span>

#include "device/backend.h"
#include "kernels/cuda/device/arguments.h"

namespace levanter::cuda {

/// `axes`, and how each operand moves along them: not at all along an axis that it lacks. Axes of
/// size 1 fall away, and neighbours that all operands walk alike become one.
Space make_space(const Axes& axes, std::span<const View* const> operands);
inline Space make_space(const Axes& axes, std::initializer_list<const View*> operands) {
  return make_space(axes, std::span(operands.begin(), operands.size()));
}

/// error  kInternal for f64, of which this backend has no kernels
Element element_of(DType dtype);

}  // namespace levanter::cuda

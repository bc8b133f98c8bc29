// How axes of a view lie in memory: as one axis, or flattened as far as they allow.
#include "kernels/shared/strides.h"

namespace levanter::kernels {

std::optional<int64_t> merged_stride(const View& view, const Axes& axes) {
  std::optional<int64_t> stride;
  int64_t expected = 0;
  for (size_t i = axes.size(); i-- > 0;) {
    if (axes[i].size == 1) continue;
    const int64_t s = view.strides[static_cast<size_t>(view.axes.find(axes[i].name))];
    if (!stride)
      stride = s;
    else if (s != expected)
      return std::nullopt;
    expected = s * axes[i].size;
  }
  return stride.value_or(1);
}

Dims::Dims(const View& view, std::span<const Axis> axes) {
  for (const Axis& axis : axes) {
    if (axis.size == 1) continue;
    const int64_t stride = stride_of(view, axis.name);
    if (count > 0 && dims[count - 1].stride == stride * axis.size)
      dims[count - 1] = {dims[count - 1].size * axis.size, stride};
    else
      dims[count++] = {axis.size, stride};
  }
}

int64_t Dims::offset(int64_t index) const {
  if (linear()) return index * step();
  int64_t at = 0;
  for (size_t i = count; i-- > 0; index /= dims[i].size)
    at += index % dims[i].size * dims[i].stride;
  return at;
}

}  // namespace levanter::kernels

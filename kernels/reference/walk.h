// Plain loops over named axes: the offsets of several operands at each index of a space of axes.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "device/backend.h"

namespace levanter::reference {

/// Visits every index of `space`, row-major, and keeps for each operand the offset of the element
/// with that index; an operand that lacks an axis stays where it is along it.
class Walk {
 public:
  Walk(const Axes& space, const std::vector<const View*>& operands) : space_(space) {
    for (const View* view : operands) {
      std::array<int64_t, Axes::kMaxAxes> strides{};
      for (size_t i = 0; i < space.size(); ++i) {
        const int at = view->axes.find(space[i].name);
        strides[i] = at < 0 ? 0 : view->strides[static_cast<size_t>(at)];
      }
      strides_.push_back(strides);
    }
  }

  /// fn(offsets): one offset an operand, in elements.
  template <class Fn>
  void each(Fn&& fn) const {
    std::array<int64_t, Axes::kMaxAxes> index{};
    std::array<int64_t, 8> offsets{};
    for (int64_t n = space_.elements(); n > 0; --n) {
      fn(offsets);
      for (size_t axis = space_.size(); axis-- > 0;) {
        for (size_t o = 0; o < strides_.size(); ++o) offsets[o] += strides_[o][axis];
        if (++index[axis] < space_[axis].size) break;
        for (size_t o = 0; o < strides_.size(); ++o)
          offsets[o] -= strides_[o][axis] * space_[axis].size;
        index[axis] = 0;
      }
    }
  }

 private:
  Axes space_;
  std::vector<std::array<int64_t, Axes::kMaxAxes>> strides_;
};

/// A kernel from a function that runs it: the reference backend keeps no other state.
class LoopKernel : public Kernel {
 public:
  explicit LoopKernel(const KernelRequest& request)
      : attributes(request.node.attributes), inputs(request.inputs), outputs(request.outputs) {}

 protected:
  const Attributes attributes;
  const std::vector<ArrayInfo> inputs, outputs;
};

/// Calls fn with a value of the C++ type that `dtype` names.
template <class Fn>
void with_type(DType dtype, Fn&& fn) {
  switch (dtype) {
    case DType::f32:
      return fn(float{});
    case DType::f64:
      return fn(double{});
    case DType::i32:
      return fn(int32_t{});
    case DType::u32:
      return fn(uint32_t{});
  }
}

/// A primitive's kernel of the reference backend; each file of kernels/reference defines one.
struct KernelEntry {
  const char* op;
  std::unique_ptr<Kernel> (*make)(const KernelRequest&);
};

template <class K>
std::unique_ptr<Kernel> make(const KernelRequest& request) {
  return std::make_unique<K>(request);
}

}  // namespace levanter::reference

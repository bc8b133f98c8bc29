// Plain loops over named axes: the offsets of several operands at each index of a space of axes.
#pragma once

#include <array>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <span>
#include <vector>

#include "base/bf16.h"
#include "device/backend.h"

namespace levanter::reference {

/// Visits every index of `space`, row-major, and keeps for each operand the offset of the element
/// with that index; an operand that lacks an axis stays where it is along it. Allocates nothing.
class Walk {
 public:
  static constexpr size_t kMaxOperands = 4;

  Walk(const Axes& space, std::initializer_list<const View*> operands)
      : Walk(space, std::span(operands.begin(), operands.size())) {}
  /// At most kMaxOperands operands.
  Walk(const Axes& space, std::span<const View* const> operands) : space_(space) {
    for (const View* view : operands) {
      auto& strides = strides_.at(count_++);
      for (size_t i = 0; i < space.size(); ++i) {
        const int at = view->axes.find(space[i].name);
        strides[i] = at < 0 ? 0 : view->strides[static_cast<size_t>(at)];
      }
    }
  }

  /// fn(offsets): one offset an operand, in elements.
  template <class Fn>
  void each(Fn&& fn) const {
    std::array<int64_t, Axes::kMaxAxes> index{};
    std::array<int64_t, kMaxOperands> offsets{};
    for (int64_t n = space_.elements(); n > 0; --n) {
      fn(offsets);
      for (size_t axis = space_.size(); axis-- > 0;) {
        for (size_t o = 0; o < count_; ++o) offsets[o] += strides_[o][axis];
        if (++index[axis] < space_[axis].size) break;
        for (size_t o = 0; o < count_; ++o) offsets[o] -= strides_[o][axis] * space_[axis].size;
        index[axis] = 0;
      }
    }
  }

 private:
  Axes space_;
  std::array<std::array<int64_t, Axes::kMaxAxes>, kMaxOperands> strides_{};
  size_t count_ = 0;
};

/// A kernel from a function that runs it: the reference backend keeps no other state.
class LoopKernel : public Kernel {
 public:
  explicit LoopKernel(const KernelRequest& request)
      : attributes(request.node.attributes), inputs(request.inputs), outputs(request.outputs) {}
  bool is_reference() const final { return true; }

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
    case DType::bf16:
      return fn(Bf16{});
    case DType::i8:
      return fn(int8_t{});
  }
}

/// A primitive's kernel of the reference backend; each file of kernels/reference defines one.
struct KernelEntry {
  const Op* op;
  std::unique_ptr<Kernel> (*make)(const KernelRequest&);
};

template <class K>
std::unique_ptr<Kernel> make(const KernelRequest& request) {
  return std::make_unique<K>(request);
}

}  // namespace levanter::reference

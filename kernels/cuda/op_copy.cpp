// Values copied: to another layout, with neighbouring axes as one, one part after the other.
#include <deque>

#include "kernels/cuda/kernel.h"

namespace levanter::cuda {

namespace {

class CopyKernel final : public CudaKernel {
 public:
  CopyKernel(Context& c, const KernelRequest& request)
      : CudaKernel(c, request),
        copy_(c, outputs[0].dtype, outputs[0].view.axes, inputs[0].view, outputs[0].view) {}
  void run(const void* const* in, void* const* out, void*) const override {
    copy_.run(in[0], out[0]);
  }

 private:
  CopyFunction copy_;
};

/// The same bytes as the result, seen over the axes before they merge.
class MergeKernel final : public CudaKernel {
 public:
  MergeKernel(Context& c, const KernelRequest& request)
      : CudaKernel(c, request),
        copy_(c, outputs[0].dtype, inputs[0].view.axes, inputs[0].view,
              View::row_major(inputs[0].view.axes)) {}
  void run(const void* const* in, void* const* out, void*) const override {
    copy_.run(in[0], out[0]);
  }

 private:
  CopyFunction copy_;
};

class ConcatKernel final : public CudaKernel {
 public:
  ConcatKernel(Context& c, const KernelRequest& request) : CudaKernel(c, request) {
    const View& whole = outputs[0].view;
    int64_t start = 0;
    for (const ArrayInfo& part : inputs) {
      View piece{part.view.axes, {}, 0};
      for (size_t i = 0; i < piece.axes.size(); ++i)
        piece.strides[i] = stride_of(whole, piece.axes[i].name);
      parts_.emplace_back(c, outputs[0].dtype, piece.axes, part.view, piece);
      starts_.push_back(start * stride_of(whole, attributes.axis) * size_of(outputs[0].dtype));
      start += piece.axes.size_of(attributes.axis);
    }
  }
  void run(const void* const* in, void* const* out, void*) const override {
    for (size_t i = 0; i < parts_.size(); ++i)
      parts_[i].run(in[i], static_cast<std::byte*>(out[0]) + starts_[i]);
  }

 private:
  std::deque<CopyFunction> parts_;
  std::vector<int64_t> starts_;  ///< in bytes
};

}  // namespace

extern const CudaKernelEntry copy_entry;
const CudaKernelEntry copy_entry = {{{&ops::copy_entry, make<CopyKernel>, always},
                                     {&ops::merge_axes_entry, make<MergeKernel>},
                                     {&ops::concat_entry, make<ConcatKernel>, always}}};

}  // namespace levanter::cuda

// The indices of the largest values along an axis.
#include <algorithm>

#include "kernels/cuda/kernel.h"

namespace levanter::cuda {

namespace {

class TopKKernel final : public CudaKernel {
 public:
  TopKKernel(Context& c, const KernelRequest& request)
      : CudaKernel(c, request), function_(c, "index", "top_k") {
    const View &from = inputs[0].view, &to = outputs[0].view;
    const Axis choice = attributes.axes[0];
    arguments_.rows = make_space(without(from.axes, attributes.axis), {&from, &to});
    arguments_.size = from.axes.size_of(attributes.axis);
    arguments_.stride = stride_of(from, attributes.axis);
    arguments_.choices = choice.size;
    arguments_.to_stride = stride_of(to, choice.name);
    arguments_.element = element_of(inputs[0].dtype);
  }
  void run(const void* const* in, void* const* out, void*) const override {
    TopKArguments arguments = arguments_;
    arguments.from = in[0];
    arguments.to = static_cast<int*>(out[0]);
    function_.launch({{std::min<int64_t>(arguments.rows.count, INT32_MAX), 1, 1}}, arguments);
  }

 private:
  Function function_;
  TopKArguments arguments_{};
};

}  // namespace

extern const CudaKernelEntry top_k_entry;
const CudaKernelEntry top_k_entry = {{{&ops::top_k_entry, make<TopKKernel>}}};

}  // namespace levanter::cuda

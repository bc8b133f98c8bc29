// Rows picked by an index.
#include "kernels/cuda/kernel.h"

namespace levanter::cuda {

namespace {

class GatherKernel final : public CudaKernel {
 public:
  GatherKernel(Context& c, const KernelRequest& request)
      : CudaKernel(c, request), function_(c, "index", "gather") {
    const View &from = inputs[0].view, &to = outputs[0].view;
    element_of(outputs[0].dtype);
    // The space lacks the taken axis, so that the first operand stays at its first row.
    arguments_.space = make_space(to.axes, {&from, &inputs[1].view, &to});
    arguments_.size = from.axes.size_of(attributes.axis);
    arguments_.stride = stride_of(from, attributes.axis);
    arguments_.word_bytes = static_cast<int>(size_of(outputs[0].dtype));
  }
  void run(const void* const* in, void* const* out, void*) const override {
    GatherArguments arguments = arguments_;
    arguments.from = in[0];
    arguments.index = static_cast<const int*>(in[1]);
    arguments.to = out[0];
    function_.loop(arguments.space.count, arguments);
  }

 private:
  Function function_;
  GatherArguments arguments_{};
};

}  // namespace

extern const CudaKernelEntry gather_entry;
const CudaKernelEntry gather_entry = {{{&ops::gather_entry, make<GatherKernel>, always}}};

}  // namespace levanter::cuda

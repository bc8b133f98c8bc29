// Values converted to another element type, and parameters rounded to bf16.
#include "kernels/cuda/kernel.h"

namespace levanter::cuda {

namespace {

class CastKernel final : public CudaKernel {
 public:
  CastKernel(Context& c, const KernelRequest& request)
      : CudaKernel(c, request), function_(c, "cast", "cast") {
    arguments_.space = make_space(outputs[0].view.axes, {&inputs[0].view, &outputs[0].view});
    arguments_.from_element = element_of(inputs[0].dtype);
    arguments_.to_element = element_of(outputs[0].dtype);
  }
  void run(const void* const* in, void* const* out, void*) const override {
    CastArguments arguments = arguments_;
    arguments.from = in[0];
    arguments.to = out[0];
    function_.loop(arguments.space.count, arguments);
  }

 private:
  Function function_;
  CastArguments arguments_{};
};

}  // namespace

extern const CudaKernelEntry cast_entry;
const CudaKernelEntry cast_entry = {
    {{&ops::cast_entry, make<CastKernel>, always}, {&ops::pack_entry, make<CastKernel>, always}}};

}  // namespace levanter::cuda

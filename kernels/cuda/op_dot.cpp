// Products in tiles: the named axes become batch, m, n and k, each with any strides.
#include <algorithm>

#include "base/error.h"
#include "base/integers.h"
#include "kernels/cuda/kernel.h"

namespace levanter::cuda {

namespace {

constexpr int64_t kTile = 64;  // as in kernels/cuda/device/dot.cu

class DotKernel final : public CudaKernel {
 public:
  DotKernel(Context& c, const KernelRequest& request)
      : CudaKernel(c, request), function_(c, "dot", "dot") {
    const View &a = inputs[0].view, &b = inputs[1].view, &result = outputs[0].view;
    LEV_CHECK(outputs[0].dtype == DType::f32, "device cuda multiplies f32 and bf16 only");
    const Axes batch = intersect(intersect(result.axes, a.axes), b.axes);
    const Axes m = without(intersect(result.axes, a.axes), batch);
    const Axes n = without(intersect(result.axes, b.axes), batch);
    arguments_.batch = make_space(batch, {&a, &b, &result});
    arguments_.m = make_space(m, {&a, &result});
    arguments_.n = make_space(n, {&b, &result});
    arguments_.k = make_space(without(intersect(a.axes, b.axes), result.axes), {&a, &b});
    arguments_.element = element_of(inputs[0].dtype);
  }
  void run(const void* const* in, void* const* out, void*) const override {
    DotArguments arguments = arguments_;
    arguments.a = in[0];
    arguments.b = in[1];
    arguments.c = static_cast<float*>(out[0]);
    const int64_t batches = std::min<int64_t>(arguments.batch.count, 65535);
    function_.launch(
        {{ceil_div(arguments.m.count, kTile), ceil_div(arguments.n.count, kTile), batches}},
        arguments);
  }

 private:
  Function function_;
  DotArguments arguments_{};
};

}  // namespace

extern const CudaKernelEntry dot_entry;
const CudaKernelEntry dot_entry = {{{&ops::dot_entry, make<DotKernel>, always}}};

}  // namespace levanter::cuda

// Elementwise arithmetic: each opcode has a kernel of its name.
#include "base/strings.h"
#include "kernels/cuda/kernel.h"

namespace levanter::cuda {

namespace {

class MapKernel final : public CudaKernel {
 public:
  MapKernel(Context& c, const KernelRequest& request)
      : CudaKernel(c, request),
        function_(c, "map", cat("map_", name_of(MapAttributes::of(attributes).opcode))) {
    std::vector<const View*> views;
    for (const ArrayInfo& input : inputs) views.push_back(&input.view);
    views.push_back(&outputs[0].view);
    arguments_.space = make_space(outputs[0].view.axes, views);
    arguments_.inputs = static_cast<int>(inputs.size());
    arguments_.element = element_of(outputs[0].dtype);
  }
  void run(const void* const* in, void* const* out, void*) const override {
    MapArguments arguments = arguments_;
    std::copy(in, in + inputs.size(), arguments.in);
    arguments.out = out[0];
    function_.loop(arguments.space.count, arguments);
  }
  bool in_place(size_t, size_t input) const override {
    return inputs[input].view.axes == outputs[0].view.axes;
  }

 private:
  Function function_;
  MapArguments arguments_{};
};

}  // namespace

extern const CudaKernelEntry map_entry;
const CudaKernelEntry map_entry = {{{&ops::map_entry, make<MapKernel>, always}}};

}  // namespace levanter::cuda

// Updates put at an index, in the order of their position: added into zeros, or the last one kept.
#include <algorithm>

#include "base/error.h"
#include "kernels/cuda/kernel.h"

namespace levanter::cuda {

namespace {

ScatterArguments scatter_arguments(const ArrayInfo& updates, const ArrayInfo& index,
                                   const ArrayInfo& to, AxisName axis) {
  const auto operands = {&updates.view, &index.view, &to.view};
  const Axes& all = updates.view.axes;
  const Axes positions = without(all, to.view.axes), others = without(all, positions);
  ScatterArguments arguments{};
  arguments.kept = make_space(intersect(others, index.view.axes), operands);
  arguments.positions = make_space(positions, operands);
  arguments.wide = make_space(without(others, index.view.axes), operands);
  arguments.size = to.view.axes.size_of(axis);
  arguments.stride = stride_of(to.view, axis);
  arguments.word_bytes = static_cast<int>(size_of(to.dtype));
  arguments.element = element_of(to.dtype);
  return arguments;
}

class ScatterAddKernel final : public CudaKernel {
 public:
  ScatterAddKernel(Context& c, const KernelRequest& request)
      : CudaKernel(c, request),
        blocks_(c, "index", "scatter_add"),
        threads_(c, "index", "scatter_add_one"),
        arguments_(scatter_arguments(inputs[0], inputs[1], outputs[0], attributes.axis)) {
    LEV_CHECK(outputs[0].view.is_contiguous(), "updates are added into an array without gaps");
  }
  void run(const void* const* in, void* const* out, void*) const override {
    ScatterArguments arguments = arguments_;
    arguments.from = in[0];
    arguments.index = static_cast<const int*>(in[1]);
    arguments.to = out[0];
    context.device().fill(static_cast<std::byte*>(out[0]), outputs[0].bytes(), std::byte{0});
    if (arguments.positions.count == 1)
      return threads_.loop(arguments.kept.count * arguments.wide.count, arguments);
    blocks_.launch({{arguments.positions.count, std::min<int64_t>(arguments.kept.count, 65535), 1}},
                   arguments);
  }

 private:
  Function blocks_, threads_;
  ScatterArguments arguments_;
};

class ScatterKernel final : public CudaKernel {
 public:
  ScatterKernel(Context& c, const KernelRequest& request)
      : CudaKernel(c, request),
        copy_(c, outputs[0].dtype, outputs[0].view.axes, inputs[0].view, outputs[0].view),
        function_(c, "index", "scatter"),
        arguments_(scatter_arguments(inputs[1], inputs[2], outputs[0], attributes.axis)) {}
  bool in_place(size_t, size_t input) const override { return input == 0; }
  void run(const void* const* in, void* const* out, void*) const override {
    if (in[0] != out[0]) copy_.run(in[0], out[0]);
    ScatterArguments arguments = arguments_;
    arguments.from = in[1];
    arguments.index = static_cast<const int*>(in[2]);
    arguments.to = out[0];
    function_.loop(arguments.kept.count * arguments.positions.count * arguments.wide.count,
                   arguments);
  }

 private:
  CopyFunction copy_;
  Function function_;
  ScatterArguments arguments_;
};

}  // namespace

extern const CudaKernelEntry scatter_entry;
const CudaKernelEntry scatter_entry = {{{&ops::scatter_entry, make<ScatterKernel>},
                                        {&ops::scatter_add_entry, make<ScatterAddKernel>}}};

}  // namespace levanter::cuda

// Keys folded, bits drawn, bits as floats.
#include "kernels/cuda/kernel.h"

namespace levanter::cuda {

namespace {

/// The axes of keys without that of a key's two words.
Axes rows_of(const View& keys) { return without(keys.axes, keys.axes[keys.axes.size() - 1].name); }

class FoldInKernel final : public CudaKernel {
 public:
  FoldInKernel(Context& c, const KernelRequest& request)
      : CudaKernel(c, request), function_(c, "random", "fold_in") {
    const View &from = inputs[0].view, &to = outputs[0].view;
    const AxisName word = from.axes[from.axes.size() - 1].name;
    arguments_.rows = make_space(rows_of(from), {&from, &to});
    arguments_.key_stride = stride_of(from, word);
    arguments_.to_stride = stride_of(to, word);
    arguments_.data = FoldInAttributes::of(attributes).data;
  }
  void run(const void* const* in, void* const* out, void*) const override {
    RandomArguments arguments = arguments_;
    arguments.keys = static_cast<const uint32_t*>(in[0]);
    arguments.to = static_cast<uint32_t*>(out[0]);
    function_.loop(arguments.rows.count, arguments);
  }

 private:
  Function function_;
  RandomArguments arguments_{};
};

class RandomBitsKernel final : public CudaKernel {
 public:
  RandomBitsKernel(Context& c, const KernelRequest& request)
      : CudaKernel(c, request), function_(c, "random", "random_bits") {
    const View &from = inputs[0].view, &to = outputs[0].view;
    const Axes rows = rows_of(from);
    arguments_.rows = make_space(rows, {&from, &to});
    arguments_.inside = make_space(without(to.axes, rows), {&to});
    arguments_.key_stride = stride_of(from, from.axes[from.axes.size() - 1].name);
  }
  void run(const void* const* in, void* const* out, void*) const override {
    RandomArguments arguments = arguments_;
    arguments.keys = static_cast<const uint32_t*>(in[0]);
    arguments.to = static_cast<uint32_t*>(out[0]);
    function_.loop(arguments.rows.count * arguments.inside.count, arguments);
  }

 private:
  Function function_;
  RandomArguments arguments_{};
};

class UniformKernel final : public CudaKernel {
 public:
  UniformKernel(Context& c, const KernelRequest& request)
      : CudaKernel(c, request), function_(c, "random", "uniform") {
    element_of(outputs[0].dtype);
    arguments_.space = make_space(outputs[0].view.axes, {&inputs[0].view, &outputs[0].view});
  }
  void run(const void* const* in, void* const* out, void*) const override {
    CopyArguments arguments = arguments_;
    arguments.from = in[0];
    arguments.to = out[0];
    function_.loop(arguments.space.count, arguments);
  }

 private:
  Function function_;
  CopyArguments arguments_{};
};

}  // namespace

extern const CudaKernelEntry random_entry;
const CudaKernelEntry random_entry = {{{&ops::fold_in_entry, make<FoldInKernel>},
                                       {&ops::random_bits_entry, make<RandomBitsKernel>},
                                       {&ops::uniform_entry, make<UniformKernel>}}};

}  // namespace levanter::cuda

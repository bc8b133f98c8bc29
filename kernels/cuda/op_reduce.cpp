// Sum, largest or smallest along axes, in an order that depends on the shape alone; where what is
// reduced lies side by side, on the shape of that alone, so that rows of an array have its bits.
#include "base/error.h"
#include "base/integers.h"
#include "kernels/cuda/kernel.h"

namespace levanter::cuda {

namespace {

/// With as few elements of each output, or as many outputs of elements that lie apart, a thread
/// makes an output; else a block does, or several whose parts are combined afterwards.
constexpr int64_t kManyOutputs = 8192, kFewElements = 32, kPieceLength = 16384;

int kind_of(Reduce kind) {
  switch (kind) {
    case Reduce::kSum:
      return 0;
    case Reduce::kMax:
      return 1;
    case Reduce::kMin:
      return 2;
  }
  return 0;
}

std::string suffix_of(Element element) {
  if (element == Element::kI32) return "i32";
  return element == Element::kU32 ? "u32" : "real";
}

class ReduceKernel final : public CudaKernel {
 public:
  ReduceKernel(Context& c, const KernelRequest& request)
      : CudaKernel(c, request),
        threads_(c, "reduce", "reduce_threads_" + suffix_of(element_of(inputs[0].dtype))),
        blocks_(c, "reduce", "reduce_blocks_" + suffix_of(element_of(inputs[0].dtype))) {
    const View &from = inputs[0].view, &to = outputs[0].view;
    first_.outer = make_space(to.axes, {&from, &to});
    const auto [kind, over] = ReduceAttributes::of(attributes);
    first_.inner = make_space(over, {&from});
    first_.kind = kind_of(kind);
    first_.element = element_of(inputs[0].dtype);
    first_.piece_length = kPieceLength;
    const bool dense = first_.inner.rank == 1 && first_.inner.strides[0][0] == 1;
    by_thread_ =
        first_.inner.count <= kFewElements || (!dense && first_.outer.count >= kManyOutputs);
    first_.pieces = by_thread_ ? 1 : ceil_div(first_.inner.count, kPieceLength);
    if (first_.pieces > 1) make_second(to);
  }

  int64_t workspace_bytes() const override {
    return first_.pieces > 1 ? first_.outer.count * first_.pieces * int64_t{4} : 0;
  }

  void run(const void* const* in, void* const* out, void* workspace) const override {
    ReduceArguments first = first_, second = second_;
    first.from = in[0];
    first.to = second.to = out[0];
    second.from = first.partial = workspace;
    if (by_thread_) return threads_.loop(first.outer.count, first);
    blocks_.launch({{first.outer.count * first.pieces, 1, 1}}, first);
    if (first.pieces > 1) blocks_.launch({{first.outer.count, 1, 1}}, second);
  }

 private:
  /// The pieces' results reduced in turn: [outputs, pieces] in the workspace.
  void make_second(const View& to) {
    const AxisName piece("piece of a reduction");
    Axes partial = to.axes;
    partial.push_back({piece, first_.pieces});
    const View from = View::row_major(partial);
    second_ = first_;
    second_.outer = make_space(to.axes, {&from, &to});
    second_.inner = make_space({{piece, first_.pieces}}, {&from});
    second_.element = element_of(outputs[0].dtype);
    second_.piece_length = first_.pieces;
    second_.pieces = 1;
  }

  Function threads_, blocks_;
  ReduceArguments first_{}, second_{};
  bool by_thread_ = true;
};

/// What may be in a fused region has the region's order of sums.
std::unique_ptr<Kernel> make_reduce(Context& context, const KernelRequest& request) {
  const ArrayInfo& x = request.inputs[0];
  const Type type{x.dtype, x.view.axes};
  if (is_float(x.dtype) && type.elements() > 0 &&
      ops::reduce_entry.fusion(request.node, std::span(&type, 1)))
    return make_region(context, request);
  return make<ReduceKernel>(context, request);
}

}  // namespace

extern const CudaKernelEntry reduce_entry;
const CudaKernelEntry reduce_entry = {{{&ops::reduce_entry, make_reduce}}};

}  // namespace levanter::cuda

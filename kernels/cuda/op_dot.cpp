// Products: the named axes become batch, m, n and k. Larger ones go to cuBLASLt, the others and
// those of which the library has no right algorithm to a kernel of ours, in tiles, with any
// strides.
#include <algorithm>
#include <mutex>
#include <optional>

#include "base/error.h"
#include "base/integers.h"
#include "kernels/cuda/kernel.h"
#include "kernels/cuda/products.h"
#include "kernels/shared/matrix.h"

namespace levanter::cuda {

namespace {

constexpr int64_t kTile = 64;  // as in kernels/cuda/device/dot.cu

/// Multiplications of which the library has nothing to gain.
constexpr int64_t kFewest = int64_t{1} << 15;

constexpr int64_t kAlignment = 64;  // of buffers
int64_t aligned(int64_t bytes) { return round_up(bytes, kAlignment); }

bool is_accumulation(const KernelRequest& request) { return is(request.node, ops::dot_add_entry); }
/// The left factor among the inputs.
size_t first_factor(const KernelRequest& request) { return is_accumulation(request) ? 1 : 0; }

/// A product by cuBLASLt. What does not lie as matrices do goes through copies in the workspace.
class LibraryProduct final {
 public:
  LibraryProduct(Context& c, const KernelRequest& request)
      : products_(c.products()),
        product_(request, first_factor(request)),
        factor_bytes_(size_of(request.inputs[first_factor(request)].dtype)),
        batch_(make_space(product_.batch, {&product_.a.view, &product_.b.view, &product_.result})) {
    const DType dtype = request.inputs[product_.a.input].dtype;
    const View &wanted = request.outputs[0].view, &result = product_.result;
    for (const auto& [factor, copy] : {std::pair(&product_.a, &copy_a_), {&product_.b, &copy_b_}})
      if (factor->copied)
        copy->emplace(c, dtype, factor->view.axes, request.inputs[factor->input].view,
                      factor->view);
    if (is_accumulation(request))
      copy_in_.emplace(c, DType::f32, result.axes, request.inputs[0].view, result);
    if (product_.result_copied) copy_out_.emplace(c, DType::f32, result.axes, result, wanted);

    for (int axis = 1; axis < batch_.rank; ++axis)
      if (batch_.sizes[axis] > batch_.sizes[strided_]) strided_ = axis;
    shape_ = {.factors = dtype,
              .adds = is_accumulation(request),
              .batch = batch_.sizes[strided_],
              .m = product_.m.elements(),
              .n = product_.n.elements(),
              .k = product_.k.elements(),
              .a = matrices(product_.a, 0),
              .b = matrices(product_.b, 1),
              .c = {.pitch = product_.result_row(),
                    .batch_stride = batch_.strides[2][strided_],
                    .alignment = alignment(product_.result, 2, size_of(DType::f32))}};
  }

  int64_t workspace_bytes() const {
    return Products::kWorkspaceBytes + bytes(product_.a) + bytes(product_.b) + result_bytes();
  }

  /// False, with nothing done, where the library has no right algorithm.
  bool run(const void* const* in, void* const* out, void* workspace) const {
    std::call_once(once_, [&] { found_ = products_.find(shape_, workspace); });
    if (!found_) return false;
    auto* scratch = static_cast<std::byte*>(workspace) + Products::kWorkspaceBytes;
    const std::byte* a = prepare(product_.a, copy_a_, in, scratch);
    scratch += bytes(product_.a);
    const std::byte* b = prepare(product_.b, copy_b_, in, scratch);
    scratch += bytes(product_.b);
    std::byte* c = copy_out_ ? scratch : static_cast<std::byte*>(out[0]);
    if (copy_in_ && in[0] != c) copy_in_->run(in[0], c);
    for (int64_t i = 0; i < batch_.count / batch_.sizes[strided_]; ++i)
      products_.run(*found_, a + offset(i, 0) * factor_bytes_, b + offset(i, 1) * factor_bytes_,
                    c + offset(i, 2) * size_of(DType::f32), workspace);
    if (copy_out_) copy_out_->run(c, out[0]);
    return true;
  }

 private:
  /// Of the factor's copy in the workspace.
  int64_t bytes(const kernels::Factor& factor) const {
    return factor.copied ? aligned(factor.view.axes.elements() * factor_bytes_) : 0;
  }
  int64_t result_bytes() const {
    if (!product_.result_copied) return 0;
    return aligned(product_.result.axes.elements() * size_of(DType::f32));
  }

  static const std::byte* prepare(const kernels::Factor& factor,
                                  const std::optional<CopyFunction>& copy, const void* const* in,
                                  std::byte* scratch) {
    if (!copy) return static_cast<const std::byte*>(in[factor.input]);
    copy->run(in[factor.input], scratch);
    return scratch;
  }

  Matrices matrices(const kernels::Factor& factor, int operand) const {
    const bool transposed = factor.col != 1;
    return {.pitch = transposed ? factor.col : factor.row,
            .batch_stride = batch_.strides[operand][strided_],
            .transposed = transposed,
            .alignment = alignment(factor.view, operand, factor_bytes_)};
  }

  /// What every matrix of the operand is aligned to, in bytes.
  int alignment(const View& view, int operand, int64_t element_bytes) const {
    int64_t found = kAlignment;
    const auto narrow = [&](int64_t elements) {
      while (elements * element_bytes % found != 0) found /= 2;
    };
    narrow(view.offset);
    for (int axis = 0; axis < batch_.rank; ++axis) narrow(batch_.strides[operand][axis]);
    return static_cast<int>(found);
  }

  /// Where the `index`-th call finds an operand: over the batch axes that are not the strided one.
  int64_t offset(int64_t index, int operand) const {
    int64_t offset = 0;
    for (int axis = batch_.rank - 1; axis >= 0; --axis) {
      if (axis == strided_) continue;
      offset += index % batch_.sizes[axis] * batch_.strides[operand][axis];
      index /= batch_.sizes[axis];
    }
    return offset;
  }

  Products& products_;
  kernels::MatrixProduct product_;
  int64_t factor_bytes_;
  Space batch_;      ///< operands: a, b, c
  int strided_ = 0;  ///< the axis of it that one call goes along
  ProductShape shape_;
  std::optional<CopyFunction> copy_a_, copy_b_, copy_in_, copy_out_;
  mutable std::once_flag once_;
  mutable const Product* found_ = nullptr;
};

class DotKernel final : public CudaKernel {
 public:
  DotKernel(Context& c, const KernelRequest& request)
      : CudaKernel(c, request), function_(c, "dot", "dot") {
    const size_t first = first_factor(request);
    const View &a = inputs[first].view, &b = inputs[first + 1].view, &result = outputs[0].view;
    LEV_CHECK(outputs[0].dtype == DType::f32, "device cuda multiplies f32 and bf16 only");
    const Axes batch = intersect(intersect(result.axes, a.axes), b.axes);
    const Axes m = without(intersect(result.axes, a.axes), batch);
    const Axes n = without(intersect(result.axes, b.axes), batch);
    arguments_.batch = make_space(batch, {&a, &b, &result});
    arguments_.m = make_space(m, {&a, &result});
    arguments_.n = make_space(n, {&b, &result});
    arguments_.k = make_space(without(intersect(a.axes, b.axes), result.axes), {&a, &b});
    arguments_.element = element_of(inputs[first].dtype);
    arguments_.adds = is_accumulation(request);
    if (arguments_.adds) copy_in_.emplace(c, DType::f32, result.axes, inputs[0].view, result);
    const int64_t work =
        arguments_.batch.count * arguments_.m.count * arguments_.n.count * arguments_.k.count;
    if (work >= kFewest) library_.emplace(c, request);
  }

  int64_t workspace_bytes() const override { return library_ ? library_->workspace_bytes() : 0; }

  bool in_place(size_t, size_t input) const override { return arguments_.adds && input == 0; }

  void run(const void* const* in, void* const* out, void* workspace) const override {
    if (library_ && library_->run(in, out, workspace)) return;
    if (copy_in_ && in[0] != out[0]) copy_in_->run(in[0], out[0]);
    const size_t first = copy_in_ ? 1 : 0;
    DotArguments arguments = arguments_;
    arguments.a = in[first];
    arguments.b = in[first + 1];
    arguments.c = static_cast<float*>(out[0]);
    const int64_t batches = std::min<int64_t>(arguments.batch.count, 65535);
    function_.launch(
        {{ceil_div(arguments.m.count, kTile), ceil_div(arguments.n.count, kTile), batches}},
        arguments);
  }

 private:
  Function function_;
  DotArguments arguments_{};
  std::optional<CopyFunction> copy_in_;  ///< of what is added to
  std::optional<LibraryProduct> library_;
};

/// Without anything to multiply dot_add is decomposed.
bool multiplies(const Node&, std::span<const Type> in) {
  return in[1].elements() > 0 && in[2].elements() > 0;
}

}  // namespace

extern const CudaKernelEntry dot_entry;
const CudaKernelEntry dot_entry = {{{&ops::dot_entry, make<DotKernel>, always},
                                    {&ops::dot_add_entry, make<DotKernel>, nullptr, multiplies}}};

}  // namespace levanter::cuda

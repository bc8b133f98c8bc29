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

/// Multiplications of which the library has nothing to gain.
constexpr int64_t kFewest = int64_t{1} << 15;

/// What a node multiplies, adds and gives, among the request's inputs and outputs.
struct Roles {
  explicit Roles(const KernelRequest& request)
      : adds(is(request.node, ops::dot_add_entry)),
        first(adds ? 1 : 0),
        has_bias(is(request.node, ops::rounded_dot_entry) && request.inputs.size() > 2) {}

  bool adds;      ///< input 0 is added to
  size_t first;   ///< the left factor; the right one comes next
  bool has_bias;  ///< input 2
};

/// A product by cuBLASLt. What does not lie as it wants goes through copies in the workspace.
class LibraryProduct final {
 public:
  LibraryProduct(Context& c, const KernelRequest& request)
      : products_(c.products()),
        roles_(request),
        factors_(request.inputs[roles_.first].dtype),
        result_(request.outputs[0].dtype),
        product_(for_library(request), roles_.first),
        batch_(make_space(product_.batch, {&product_.a.view, &product_.b.view, &product_.result})) {
    for (int axis = 1; axis < batch_.rank; ++axis)
      if (batch_.sizes[axis] > batch_.sizes[strided_]) strided_ = axis;
    shape_ = {.factors = factors_,
              .result = result_,
              .adds = roles_.adds,
              .has_bias = roles_.has_bias,
              .batch = batch_.sizes[strided_],
              .m = product_.m.elements(),
              .n = product_.n.elements(),
              .k = product_.k.elements(),
              .a = matrices(product_.a, 0),
              .b = matrices(product_.b, 1),
              .c = {.pitch = product_.result_row(),
                    .batch_stride = batch_.strides[2][strided_],
                    .alignment = alignment(product_.result, 2, size_of(result_))}};
    make_copies(c, request);
  }

  /// The library adds a bias along the result's rows, which one column does not have.
  static bool takes(const KernelRequest& request) {
    return !Roles(request).has_bias || request.inputs[2].view.axes.elements() > 1;
  }

  int64_t workspace_bytes() const {
    return Products::kWorkspaceBytes + a_.bytes + b_.bytes + bias_.bytes + c_bytes_;
  }

  int64_t first_run_bytes() const { return Products::check_bytes(shape_); }

  /// False, with nothing done, where the library has no right algorithm.
  bool run(const void* const* in, void* const* out, void* workspace) const {
    std::call_once(once_, [&] { found_ = products_.find(shape_, workspace); });
    if (!found_) return false;
    auto* scratch = static_cast<std::byte*>(workspace) + Products::kWorkspaceBytes;
    const std::byte* a = a_.prepare(in[product_.a.input], scratch);
    const std::byte* b = b_.prepare(in[product_.b.input], scratch);
    const std::byte* bias = roles_.has_bias ? bias_.prepare(in[2], scratch) : nullptr;
    std::byte* c = copy_out_ ? scratch : static_cast<std::byte*>(out[0]);
    if (roles_.adds && in[0] != c) copy_in_->run(in[0], c);
    for (int64_t i = 0; i < batch_.count / batch_.sizes[strided_]; ++i)
      products_.run(*found_,
                    {.a = a + offset(i, 0) * size_of(factors_),
                     .b = b + offset(i, 1) * size_of(factors_),
                     .bias = bias,
                     .c = c + offset(i, 2) * size_of(result_)},
                    workspace);
    if (copy_out_) copy_out_->run(c, out[0]);
    return true;
  }

 private:
  /// An operand that may have to be copied first.
  struct Operand {
    std::optional<CopyFunction> copy;
    int64_t bytes = 0;  ///< of the copy

    void copy_to(Context& c, const ArrayInfo& from, const View& to) {
      copy.emplace(c, from.dtype, to.axes, from.view, to);
      bytes = aligned(to.axes.elements() * size_of(from.dtype));
    }
    /// Where the operand is; a copy takes the scratch's first bytes.
    const std::byte* prepare(const void* from, std::byte*& scratch) const {
      if (!copy) return static_cast<const std::byte*>(from);
      std::byte* to = scratch;
      scratch += bytes;
      copy->run(from, to);
      return to;
    }
  };

  /// The request, with the result where the axes of a bias are its rows'.
  static KernelRequest for_library(const KernelRequest& request) {
    const Roles roles(request);
    if (!roles.has_bias) return request;
    const kernels::MatrixProduct product(request, roles.first);
    if (is_subset(request.inputs[2].view.axes, product.n)) return request;
    KernelRequest moved = request;  // product.m is the bias'
    moved.outputs[0].view = View::row_major(unite(unite(product.batch, product.n), product.m));
    return moved;
  }

  void make_copies(Context& c, const KernelRequest& request) {
    const View &wanted = request.outputs[0].view, &result = product_.result;
    if (product_.a.copied) a_.copy_to(c, request.inputs[product_.a.input], product_.a.view);
    if (product_.b.copied) b_.copy_to(c, request.inputs[product_.b.input], product_.b.view);
    if (roles_.has_bias) {
      const ArrayInfo& bias = request.inputs[2];
      const bool fits = kernels::merged_stride(bias.view, product_.n) == 1 &&
                        bias.view.offset * size_of(bias.dtype) % kAlignment == 0;
      if (!fits) bias_.copy_to(c, bias, View::row_major(product_.n));
    }
    if (roles_.adds) copy_in_.emplace(c, result_, result.axes, request.inputs[0].view, result);
    if (result.axes == wanted.axes && result.strides == wanted.strides) return;
    copy_out_.emplace(c, result_, result.axes, result, wanted);
    c_bytes_ = aligned(result.axes.elements() * size_of(result_));
  }

  Matrices matrices(const kernels::Factor& factor, int operand) const {
    const bool transposed = factor.col != 1;
    return {.pitch = transposed ? factor.col : factor.row,
            .batch_stride = batch_.strides[operand][strided_],
            .transposed = transposed,
            .alignment = alignment(factor.view, operand, size_of(factors_))};
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
  Roles roles_;
  DType factors_, result_;
  kernels::MatrixProduct product_;
  Space batch_;      ///< operands: a, b, c
  int strided_ = 0;  ///< the axis of it that one call goes along
  ProductShape shape_;
  Operand a_, b_, bias_;
  std::optional<CopyFunction> copy_in_, copy_out_;  ///< of what is added to; of the result
  int64_t c_bytes_ = 0;                             ///< of the result's copy
  mutable std::once_flag once_;
  mutable const Product* found_ = nullptr;
};

class DotKernel final : public CudaKernel {
 public:
  DotKernel(Context& c, const KernelRequest& request)
      : CudaKernel(c, request), roles_(request), function_(c, "dot", "dot") {
    const View &a = inputs[roles_.first].view, &b = inputs[roles_.first + 1].view;
    const View& result = outputs[0].view;
    LEV_CHECK(is_float(outputs[0].dtype), "device cuda multiplies f32 and bf16 only");
    const Axes batch = intersect(intersect(result.axes, a.axes), b.axes);
    const Axes m = without(intersect(result.axes, a.axes), batch);
    const Axes n = without(intersect(result.axes, b.axes), batch);
    arguments_.batch = make_space(batch, {&a, &b, &result});
    arguments_.m = make_space(m, {&a, &result});
    arguments_.n = roles_.has_bias ? make_space(n, {&b, &result, &inputs[2].view})
                                   : make_space(n, {&b, &result});
    arguments_.k = make_space(without(intersect(a.axes, b.axes), result.axes), {&a, &b});
    arguments_.element = element_of(inputs[roles_.first].dtype);
    arguments_.result = element_of(outputs[0].dtype);
    arguments_.adds = roles_.adds;
    if (roles_.adds) copy_in_.emplace(c, outputs[0].dtype, result.axes, inputs[0].view, result);
    const int64_t work =
        arguments_.batch.count * arguments_.m.count * arguments_.n.count * arguments_.k.count;
    if (work >= kFewest && LibraryProduct::takes(request)) library_.emplace(c, request);
  }

  int64_t workspace_bytes() const override { return library_ ? library_->workspace_bytes() : 0; }

  int64_t first_run_bytes() const override { return library_ ? library_->first_run_bytes() : 0; }

  bool in_place(size_t, size_t input) const override { return roles_.adds && input == 0; }

  void run(const void* const* in, void* const* out, void* workspace) const override {
    if (library_ && library_->run(in, out, workspace)) return;
    if (copy_in_ && in[0] != out[0]) copy_in_->run(in[0], out[0]);
    DotArguments arguments = arguments_;
    arguments.a = in[roles_.first];
    arguments.b = in[roles_.first + 1];
    arguments.bias = roles_.has_bias ? in[2] : nullptr;
    arguments.c = out[0];
    const int64_t batches = std::min<int64_t>(arguments.batch.count, 65535);
    function_.launch(
        {{ceil_div(arguments.m.count, kDotTile), ceil_div(arguments.n.count, kDotTile), batches}},
        arguments);
  }

 private:
  Roles roles_;
  Function function_;
  DotArguments arguments_{};
  std::optional<CopyFunction> copy_in_;  ///< of what is added to
  std::optional<LibraryProduct> library_;
};

/// Without anything to multiply composites are decomposed.
bool multiplies(const Node&, std::span<const Type> in) {
  return std::all_of(in.begin(), in.end(), [](const Type& type) { return type.elements() > 0; });
}

}  // namespace

extern const CudaKernelEntry dot_entry;
const CudaKernelEntry dot_entry = {
    {{&ops::dot_entry, make<DotKernel>, always},
     {&ops::dot_add_entry, make<DotKernel>, nullptr, multiplies},
     {&ops::rounded_dot_entry, make<DotKernel>, always, multiplies}}};

}  // namespace levanter::cuda

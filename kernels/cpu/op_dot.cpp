// Products as tiled matrix products: the named axes become batch, m, n and k.
// Plain twins: kernels/reference/dot.cpp and src/ops/composite/dot_add.cpp.
#include <optional>

#include "kernels/cpu/copy.h"
#include "kernels/cpu/dot.h"
#include "kernels/shared/matrix.h"
#include "ops/entries.h"

namespace levanter::cpu {

namespace {

class DotKernel final : public TiledDot {
 public:
  /// `first`: index of the left factor among the inputs; `store`: added to input 0 or not.
  DotKernel(Context& c, const KernelRequest& request, size_t first, Store store)
      : TiledDot(c, request), store_(store), product_(request, first) {
    const ProductShape shape{.m = product_.m.elements(),
                             .n = product_.n.elements(),
                             .k = product_.k.elements(),
                             .a_row = product_.a.row,
                             .a_col = product_.a.col,
                             .b_row = product_.b.row,
                             .b_col = product_.b.col,
                             .c_row = product_.result_row(),
                             .factors = inputs[first].dtype};
    gemm_.emplace(c.products, shape, request.small_m);
  }

  int64_t workspace_bytes() const override {
    return bytes(product_.a) + bytes(product_.b) +
           (product_.result_copied ? align64(outputs[0].bytes()) : 0) +
           static_cast<int64_t>(gemm_->run_scratch_bytes(context.pool.threads()));
  }

  bool in_place(size_t, size_t input) const override { return store_ == Store::kAdd && input == 0; }

  void run(const void* const* in, void* const* out, void* workspace) const override {
    auto* scratch = static_cast<std::byte*>(workspace);
    const std::byte* a = prepare(product_.a, in, scratch);
    const std::byte* b = prepare(product_.b, in, scratch);
    float* c = floats(out[0]);
    if (product_.result_copied) {
      c = reinterpret_cast<float*>(scratch);
      scratch += align64(outputs[0].bytes());
    }
    if (store_ == Store::kAdd && (product_.result_copied || in[0] != out[0]))
      copy_strided(context.pool, DType::f32, in[0], inputs[0].view, c, product_.result);
    multiply(a, b, c, scratch);
    if (product_.result_copied)
      copy_strided(context.pool, DType::f32, c, product_.result, out[0], outputs[0].view);
  }

  bool has_tiles(int64_t columns, bool whole) const override {
    return !product_.result_copied && !gemm_->in_parts() && product_.batch.elements() == 1 &&
           product_.result.is_contiguous() && product_.n.elements() == columns &&
           (!whole || gemm_->grid().tiles_n == 1);
  }

  void run_tiles(const void* const* in, float* result, void* workspace,
                 const std::function<void(const Tile&, int)>& take) const override {
    auto* scratch = static_cast<std::byte*>(workspace);
    const std::byte* a = prepare(product_.a, in, scratch);
    const std::byte* b = prepare(product_.b, in, scratch);
    const Factors ready = gemm_->pack(context.pool, {a, b}, scratch);
    scratch += gemm_->packed_bytes();
    const auto stride = static_cast<int64_t>(gemm_->scratch_bytes_per_worker());
    context.pool.parallel_for(gemm_->tiles(), [&](int64_t index, int worker) {
      take(gemm_->multiply(index, worker, ready, scratch + worker * stride, result), worker);
    });
  }

 private:
  /// Of the factor's copy in the workspace.
  int64_t bytes(const kernels::Factor& f) const {
    return f.copied ? align64(f.view.axes.elements() * size_of(inputs[f.input].dtype)) : 0;
  }

  const std::byte* prepare(const kernels::Factor& f, const void* const* in,
                           std::byte*& scratch) const {
    if (!f.copied) return static_cast<const std::byte*>(in[f.input]);
    std::byte* copy = scratch;
    scratch += bytes(f);
    copy_strided(context.pool, inputs[f.input].dtype, in[f.input], inputs[f.input].view, copy,
                 f.view);
    return copy;
  }

  /// The factors of the `index`-th product of a batch.
  Factors factors(const std::byte* a, const std::byte* b, int64_t index) const {
    const int64_t size = size_of(inputs[product_.a.input].dtype);
    return {a + product_.batch_offset(product_.a.view, index) * size,
            b + product_.batch_offset(product_.b.view, index) * size};
  }

  void multiply(const std::byte* a, const std::byte* b, float* c, std::byte* scratch) const {
    if (gemm_->in_parts() || gemm_->packs()) {  // long products: a batch of them goes one by one
      for (int64_t i = 0; i < product_.batch.elements(); ++i)
        gemm_->run(context.pool, factors(a, b, i), c + product_.batch_offset(product_.result, i),
                   store_, scratch);
      return;
    }
    const int64_t tiles = gemm_->tiles();
    const auto stride = static_cast<int64_t>(gemm_->scratch_bytes_per_worker());
    context.pool.parallel_for(product_.batch.elements() * tiles, [&](int64_t task, int worker) {
      const int64_t i = task / tiles;
      gemm_->run_tile(task % tiles, worker, factors(a, b, i),
                      c + product_.batch_offset(product_.result, i), store_,
                      scratch + worker * stride);
    });
  }

  Store store_;
  kernels::MatrixProduct product_;
  std::optional<Gemm> gemm_;
};

/// Without anything to multiply dot_add is decomposed, and dot is the reference's.
bool multiplies(const Node&, std::span<const Type> in) {
  return in[in.size() - 2].elements() > 0 && in[in.size() - 1].elements() > 0;
}

std::unique_ptr<Kernel> make_dot(Context& context, const KernelRequest& request) {
  if (request.outputs[0].dtype != DType::f32 || request.inputs[0].view.axes.elements() == 0 ||
      request.inputs[1].view.axes.elements() == 0)
    return nullptr;
  return std::make_unique<DotKernel>(context, request, 0, Store::kOverwrite);
}

std::unique_ptr<Kernel> make_dot_add(Context& context, const KernelRequest& request) {
  return std::make_unique<DotKernel>(context, request, 1, Store::kAdd);
}

}  // namespace

std::unique_ptr<TiledDot> make_tiled_dot(Context& context, const KernelRequest& request) {
  return std::make_unique<DotKernel>(context, request, 0, Store::kOverwrite);
}

extern const CpuKernelEntry dot_entry;
const CpuKernelEntry dot_entry = {
    {.op = &ops::dot_entry, .make = make_dot, .bf16 = true},
    {.op = &ops::dot_add_entry, .make = make_dot_add, .supports = multiplies, .bf16 = true}};

}  // namespace levanter::cpu

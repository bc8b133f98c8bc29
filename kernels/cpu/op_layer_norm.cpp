// Layer norm over rows, and its gradients: weights in two stages over fixed blocks of rows.
// Plain twin: src/ops/composite/layer_norm.cpp.
#include "kernels/cpu/region_kernel.h"
#include "ops/composite/attributes.h"
#include "ops/entries.h"

namespace levanter::cpu {

namespace {

/// The weight's axes are the last ones of x, in order.
bool rows_last(const Node&, std::span<const Type> in) {
  const Axes &x = in[0].axes, &weight = in[1].axes;
  for (size_t i = 0; i < weight.size(); ++i)
    if (x[x.size() - weight.size() + i] != weight[i]) return false;
  return weight.elements() > 0;
}

Centre centre_of(const Attributes& a) {
  return LayerNormAttributes::of(a).has_mean ? Centre::kYes : Centre::kNo;
}

class LayerNormKernel final : public CpuKernel {
 public:
  using CpuKernel::CpuKernel;
  void run(const void* const* in, void* const* out, void*) const override {
    const int64_t width = inputs[1].view.axes.elements();
    const int64_t rows = inputs[0].view.axes.elements() / width;
    const auto a = LayerNormAttributes::of(attributes);
    const float* bias = a.has_bias ? floats(in[2]) : nullptr;
    for_rows(context.pool, rows, width, [&](int64_t first, int64_t count) {
      context.vector.layer_norm(floats(out[0]) + first * width, floats(out[1]) + first,
                                floats(out[2]) + first, floats(in[0]) + first * width,
                                floats(in[1]), bias, count, width, static_cast<float>(a.eps),
                                centre_of(attributes));
    });
  }
  bool in_place(size_t output, size_t input) const override { return output == 0 && input == 0; }
};

/// x, weight, mean, rstd, dy -> dx, and dweight and dbias where they are asked for
class LayerNormGradKernel final : public CpuKernel {
 public:
  LayerNormGradKernel(Context& c, const KernelRequest& request)
      : CpuKernel(c, request),
        width_(inputs[1].view.axes.elements()),
        rows_(inputs[0].view.axes.elements() / width_),
        blocks_(ceil_div(rows_, kBlockRows)),
        sums_(outputs.size() > 1) {}

  int64_t workspace_bytes() const override { return sums_ ? 2 * blocks_ * width_ * 4 : 0; }

  void run(const void* const* in, void* const* out, void* workspace) const override {
    const float *x = floats(in[0]), *mean = floats(in[2]), *rstd = floats(in[3]);
    const float* dy = floats(in[4]);
    float *dweight = floats(workspace), *dbias = dweight + blocks_ * width_;
    context.pool.parallel_for(blocks_, [&](int64_t block, int) {
      const int64_t first = block * kBlockRows, count = std::min(kBlockRows, rows_ - first);
      const int64_t at = first * width_;
      if (sums_) {
        std::fill_n(dweight + block * width_, width_, 0.0f);
        std::fill_n(dbias + block * width_, width_, 0.0f);
        context.vector.layer_norm_weight_block(dweight + block * width_, dbias + block * width_,
                                               dy + at, x + at, mean + first, rstd + first, count,
                                               width_);
      }
      // Last, because dx may lie over x or dy.
      context.vector.layer_norm_backward(floats(out[0]) + at, dy + at, x + at, mean + first,
                                         rstd + first, floats(in[1]), count, width_,
                                         centre_of(attributes));
    });
    if (!sums_) return;
    context.vector.sum_rows(floats(out[1]), dweight, width_, blocks_, width_);
    context.vector.sum_rows(floats(out[2]), dbias, width_, blocks_, width_);
  }

  bool in_place(size_t output, size_t input) const override {
    return output == 0 && (input == 0 || input == 4);
  }

 private:
  int64_t width_, rows_, blocks_;
  bool sums_;
};

}  // namespace

extern const CpuKernelEntry layer_norm_entry;
const CpuKernelEntry layer_norm_entry = {{.op = &ops::layer_norm_entry,
                                          .make = make_either<LayerNormKernel>,
                                          .supports = rows_last,
                                          .packs_inputs = true,
                                          .bf16 = true},
                                         {.op = &ops::layer_norm_grad_entry,
                                          .make = make_either<LayerNormGradKernel>,
                                          .supports = rows_last,
                                          .packs_inputs = true,
                                          .bf16 = true}};

}  // namespace levanter::cpu

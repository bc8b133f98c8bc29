// The cross entropy of a linear layer, in chunks of tokens.
// Plain twin: src/ops/composite/linear_xent.cpp.
#include "kernels/cpu/kernel.h"
#include "kernels/cpu/linear_xent.h"
#include "ops/composite/attributes.h"
#include "ops/entries.h"

namespace levanter::cpu {

namespace {

/// h [tokens..., embed] and weight [vocab, embed].
bool takes(const Node&, std::span<const Type> in) {
  const Axes &h = in[0].axes, &weight = in[1].axes;
  return weight.size() == 2 && weight[0].name == AxisName("vocab") &&
         h[h.size() - 1] == weight[1] && h.elements() > 0;
}

class LinearXentKernel final : public CpuKernel {
 public:
  LinearXentKernel(Context& c, const KernelRequest& request)
      : CpuKernel(c, request),
        tokens_(inputs[2].view.axes.elements()),
        gradients_(LinearXentAttributes::of(attributes).gradients),
        xent_(c.products, shape(), gradients_) {}

  int64_t workspace_bytes() const override {
    return align64(tokens_ * 4) + static_cast<int64_t>(xent_.scratch_bytes(context.pool.threads()));
  }

  void run(const void* const* in, void* const* out, void* workspace) const override {
    LinearXentArrays arrays;
    arrays.h = in[0];
    arrays.weight = in[1];
    arrays.targets = static_cast<const int32_t*>(in[2]);
    arrays.token_scale = floats(in[3]);
    arrays.token_loss = floats(out[1]);
    if (gradients_ != XentGradients::kNone) arrays.dh = out[2];
    if (gradients_ == XentGradients::kBoth) arrays.dweight = floats(out[3]);
    arrays.term = floats(workspace);
    xent_.run(context.pool, arrays, static_cast<std::byte*>(workspace) + align64(tokens_ * 4));
    *floats(out[0]) = context.vector.sum(arrays.term, tokens_);
  }

 private:
  LinearXentShape shape() const {
    const LinearXentOptions options = LinearXentAttributes::of(attributes).options;
    const Axes& weight = inputs[1].view.axes;
    return {.tokens = tokens_,
            .embed = weight[1].size,
            .vocab = weight[0].size,
            .h_row = weight[1].size,
            .weight_vocab = weight[1].size,
            .z_loss = static_cast<float>(options.z_loss),
            .soft_cap = static_cast<float>(options.soft_cap),
            .dtype = inputs[0].dtype,
            .scaled_only = options.scaled_only};
  }

  int64_t tokens_;
  XentGradients gradients_;
  LinearXent xent_;
};

}  // namespace

extern const CpuKernelEntry linear_xent_entry;
const CpuKernelEntry linear_xent_entry = {{.op = &ops::linear_xent_entry,
                                           .make = make<LinearXentKernel>,
                                           .supports = takes,
                                           .packs_inputs = true,
                                           .bf16 = true}};

}  // namespace levanter::cpu

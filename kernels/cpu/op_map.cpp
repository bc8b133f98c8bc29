// Elementwise arithmetic on vector spans; operands may be strided or broadcast.
// Plain twin: kernels/reference/map.cpp.
#include <array>

#include "kernels/cpu/kernel.h"
#include "kernels/cpu/loop.h"
#include "kernels/cpu/region_kernel.h"
#include "ops/attributes.h"
#include "ops/entries.h"

namespace levanter::cpu {

namespace {

/// An operand whose inner stride is neither 0 nor 1 is gathered into a span of this many elements.
constexpr int64_t kSpan = 1024;

class MapKernel final : public CpuKernel {
 public:
  MapKernel(Context& c, const KernelRequest& request)
      : CpuKernel(c, request), loop_(request.outputs[0].view.axes, views(request)) {
    for (size_t i = 0; i < inputs.size(); ++i)
      strided_ |= loop_.inner()[i + 1] != 0 && loop_.inner()[i + 1] != 1;
  }

  void run(const void* const* in, void* const* out, void*) const override {
    loop_.run(context.pool, strided_ ? kSpan : kTaskElements,
              [&](const Loop::Offsets& at, int64_t n) { span(in, floats(out[0]), at, n); });
  }

  bool in_place(size_t, size_t input) const override {
    return inputs[input].dtype == DType::f32 && inputs[input].view.axes == outputs[0].view.axes;
  }

  static std::array<View, Loop::kOperands> views(const KernelRequest& request) {
    std::array<View, Loop::kOperands> all;
    all[0] = request.outputs[0].view;
    for (size_t i = 0; i < request.inputs.size(); ++i) all[i + 1] = request.inputs[i].view;
    return all;
  }

 private:
  void span(const void* const* in, float* out, const Loop::Offsets& at, int64_t n) const {
    float gathered[3][kSpan];
    const float* x[3] = {};
    int64_t step[3] = {};
    for (size_t i = 0; i < inputs.size(); ++i) {
      x[i] = floats(in[i]) + at[i + 1];
      step[i] = loop_.inner()[i + 1];
      if (strided_ && step[i] != 0 && step[i] != 1) {
        for (int64_t j = 0; j < n; ++j) gathered[i][j] = x[i][j * step[i]];
        x[i] = gathered[i];
        step[i] = 1;
      }
    }
    apply(out + at[0], x, step, n);
  }

  void apply(float* y, const float* const* x, const int64_t* step, int64_t n) const {
    const auto opcode = static_cast<size_t>(MapAttributes::of(attributes).opcode);
    if (inputs.size() == 3) {
      context.vector.select(y, x[0], step[0], x[1], step[1], x[2], step[2], n);
    } else if (inputs.size() == 2) {
      context.vector.binary[opcode](y, x[0], step[0], x[1], step[1], n);
    } else if (step[0] == 1) {
      context.vector.unary[opcode](y, x[0], n);
    } else {  // one value for the whole span
      context.vector.unary[opcode](y, x[0], 1);
      for (int64_t i = 1; i < n; ++i) y[i] = y[0];
    }
  }

  Loop loop_;
  bool strided_ = false;
};

std::unique_ptr<Kernel> make_map(Context& context, const KernelRequest& request) {
  if (is_bf16(request)) return make_region(context, request);
  if (request.outputs[0].dtype != DType::f32 || !request.outputs[0].view.is_contiguous())
    return nullptr;
  return make<MapKernel>(context, request);
}

}  // namespace

extern const CpuKernelEntry map_entry;
const CpuKernelEntry map_entry = {{.op = &ops::map_entry, .make = make_map, .bf16 = true}};

}  // namespace levanter::cpu

// AdamW over one parameter, in place where it may be.
// Plain twin: src/ops/composite/adamw.cpp.
#include <cstring>

#include "kernels/cpu/kernel.h"
#include "ops/composite/attributes.h"
#include "ops/entries.h"

namespace levanter::cpu {

namespace {

/// A root and divisions for each element: a task of fewer is worth a claim too.
constexpr int64_t kSpan = kTaskElements / 4;

/// param grad m v lr scale correction1 correction2 proceed -> param m v
class AdamwKernel final : public CpuKernel {
 public:
  using CpuKernel::CpuKernel;
  void run(const void* const* in, void* const* out, void*) const override {
    const auto scalar = [&](size_t i) { return *floats(in[i]); };
    const auto [beta1, beta2, epsilon, weight_decay] = AdamwAttributes::of(attributes).options;
    const AdamwConstants constants{scalar(4),
                                   static_cast<float>(beta1),
                                   static_cast<float>(beta2),
                                   static_cast<float>(1 - beta1),
                                   static_cast<float>(1 - beta2),
                                   static_cast<float>(epsilon),
                                   static_cast<float>(weight_decay),
                                   scalar(6),
                                   scalar(7),
                                   scalar(5)};
    const bool proceed = scalar(8) != 0;
    static constexpr size_t kFrom[] = {0, 2, 3};
    const auto update = [&](int64_t begin, int64_t end) {
      for (size_t o = 0; o < 3; ++o)
        if (out[o] != in[kFrom[o]])
          std::memcpy(floats(out[o]) + begin, floats(in[kFrom[o]]) + begin,
                      static_cast<size_t>(end - begin) * sizeof(float));
      if (proceed)
        context.vector.adamw(floats(out[0]) + begin, floats(out[1]) + begin, floats(out[2]) + begin,
                             floats(in[1]) + begin, end - begin, constants);
    };
    for_spans(context.pool, outputs[0].view.axes.elements(), update, kSpan);
  }
  bool in_place(size_t output, size_t input) const override {
    return (output == 0 && input == 0) || (output > 0 && input == output + 1);
  }
};

}  // namespace

extern const CpuKernelEntry adamw_entry;
const CpuKernelEntry adamw_entry = {
    {.op = &ops::adamw_entry, .make = make<AdamwKernel>, .packs_inputs = true}};

}  // namespace levanter::cpu

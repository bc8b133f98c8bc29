// Values moved from one layout to another.
// Plain twin: kernels/reference/copy.cpp.
#include <cstring>

#include "kernels/cpu/copy.h"
#include "kernels/cpu/kernel.h"
#include "kernels/cpu/loop.h"
#include "ops/entries.h"

namespace levanter::cpu {

namespace {

template <class T>
void copy_elements(ThreadPool& pool, const T* from, const View& from_view, T* to,
                   const View& to_view) {
  const View views[] = {to_view, from_view};
  const Loop loop(to_view.axes, views);
  const int64_t to_step = loop.inner()[0], from_step = loop.inner()[1];
  loop.run(pool, kTaskElements, [&](const Loop::Offsets& at, int64_t n) {
    T* y = to + at[0];
    const T* x = from + at[1];
    if (to_step == 1 && from_step == 1) {
      std::memcpy(y, x, static_cast<size_t>(n) * sizeof(T));
    } else {
      for (int64_t i = 0; i < n; ++i) y[i * to_step] = x[i * from_step];
    }
  });
}

}  // namespace

void copy_strided(ThreadPool& pool, DType dtype, const void* from, const View& from_view, void* to,
                  const View& to_view) {
  const auto copy = [&](auto element) {
    using T = decltype(element);
    copy_elements(pool, static_cast<const T*>(from), from_view, static_cast<T*>(to), to_view);
  };
  size_of(dtype) == 2 ? copy(uint16_t{}) : copy(uint32_t{});
}

namespace {

class CopyKernel final : public CpuKernel {
 public:
  using CpuKernel::CpuKernel;
  void run(const void* const* in, void* const* out, void*) const override {
    copy_strided(context.pool, outputs[0].dtype, in[0], inputs[0].view, out[0], outputs[0].view);
  }
};

std::unique_ptr<Kernel> make_copy(Context& context, const KernelRequest& request) {
  return request.outputs[0].dtype == DType::f64 ? nullptr : make<CopyKernel>(context, request);
}

}  // namespace

extern const CpuKernelEntry copy_entry;
const CpuKernelEntry copy_entry = {{.op = &ops::copy_entry,
                                    .make = make_copy,
                                    .writes_strided = [](const Node&) { return true; },
                                    .bf16 = true}};

}  // namespace levanter::cpu

// Numbers that no input holds: those known when the model is traced, and 0, 1, 2, ...
#include <algorithm>
#include <bit>

#include "base/bf16.h"
#include "kernels/cuda/kernel.h"

namespace levanter::cuda {

namespace {

uint32_t word_of(double value, DType dtype) {
  if (dtype == DType::i32) return static_cast<uint32_t>(static_cast<int32_t>(value));
  if (dtype == DType::u32) return static_cast<uint32_t>(value);
  if (dtype == DType::bf16) return Bf16(static_cast<float>(value)).bits();
  return std::bit_cast<uint32_t>(static_cast<float>(value));
}

/// The numbers go to the card as a kernel's argument, some hundreds at a time.
class LiteralKernel final : public CudaKernel {
 public:
  LiteralKernel(Context& c, const KernelRequest& request)
      : CudaKernel(c, request), function_(c, "cast", "literal") {
    element_of(outputs[0].dtype);
    for (const double value : *LiteralAttributes::of(attributes).values)
      words_.push_back(word_of(value, outputs[0].dtype));
  }
  void run(const void* const*, void* const* out, void*) const override {
    LiteralArguments arguments{};
    arguments.to = out[0];
    arguments.stride = outputs[0].view.strides[0];
    arguments.word_bytes = static_cast<int>(size_of(outputs[0].dtype));
    for (size_t first = 0; first < words_.size(); first += LiteralArguments::kWords) {
      const size_t count = std::min<size_t>(words_.size() - first, LiteralArguments::kWords);
      arguments.first = static_cast<int64_t>(first);
      arguments.count = static_cast<int64_t>(count);
      std::copy_n(words_.data() + first, count, arguments.words);
      function_.loop(arguments.count, arguments);
    }
  }

 private:
  Function function_;
  std::vector<uint32_t> words_;
};

class IotaKernel final : public CudaKernel {
 public:
  IotaKernel(Context& c, const KernelRequest& request)
      : CudaKernel(c, request), function_(c, "cast", "iota") {
    arguments_.count = outputs[0].view.axes.elements();
    arguments_.stride = outputs[0].view.strides[0];
    arguments_.element = element_of(outputs[0].dtype);
  }
  void run(const void* const*, void* const* out, void*) const override {
    IotaArguments arguments = arguments_;
    arguments.to = out[0];
    function_.loop(arguments.count, arguments);
  }

 private:
  Function function_;
  IotaArguments arguments_{};
};

}  // namespace

extern const CudaKernelEntry literal_entry;
const CudaKernelEntry literal_entry = {
    {{&ops::literal_entry, make<LiteralKernel>}, {&ops::iota_entry, make<IotaKernel>}}};

}  // namespace levanter::cuda

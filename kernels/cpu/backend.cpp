// The CPU backend: our threads, our tiles, single-threaded oneDNN products, vector kernels.
#include <algorithm>
#include <chrono>
#include <span>
#include <string_view>

#include "base/error.h"
#include "base/strings.h"
#include "kernels/cpu/copy.h"
#include "kernels/cpu/instruction_rate.h"
#include "kernels/cpu/kernel.h"
#include "kernels/shared/host_backend.h"

namespace levanter {

namespace cpu {

std::span<const CpuKernelEntry* const> entries();

namespace {

const OpKernel* find(std::string_view op) {
  for (const CpuKernelEntry* entry : entries())
    for (const OpKernel* kernel : {&entry->kernel, &entry->second, &entry->third})
      if (kernel->op && kernel->op->name == op) return kernel;
  return nullptr;
}

bool is_read(const OpKernel& entry, const KernelRequest& request, size_t input) {
  return request.inputs[input].view.is_contiguous() || (entry.reads && entry.reads(request, input));
}

/// Copies inputs that the kernel can't read as they lie, then runs it.
class PackingKernel final : public Kernel {
 public:
  PackingKernel(Context& context, const OpKernel& entry, const KernelRequest& request)
      : context_(context), inputs_(request.inputs) {
    KernelRequest packed = request;
    for (size_t i = 0; i < inputs_.size(); ++i) {
      packs_.push_back(!is_read(entry, request, i));
      if (!packs_.back()) continue;
      bytes_ += align64(inputs_[i].bytes());
      packed.inputs[i].view = View::row_major(inputs_[i].view.axes);
    }
    LEV_CHECK(inputs_.size() <= kInputs, "more inputs than a packing kernel has room for");
    inner_ = entry.make(context, packed);
  }
  int64_t workspace_bytes() const override { return bytes_ + inner_->workspace_bytes(); }
  bool in_place(size_t output, size_t input) const override {
    return !packs_[input] && inner_->in_place(output, input);
  }
  void run(const void* const* in, void* const* out, void* workspace) const override {
    const void* pointers[kInputs];
    auto* at = static_cast<std::byte*>(workspace);
    for (size_t i = 0; i < inputs_.size(); ++i) {
      pointers[i] = in[i];
      if (!packs_[i]) continue;
      copy_strided(context_.pool, inputs_[i].dtype, in[i], inputs_[i].view, at,
                   View::row_major(inputs_[i].view.axes));
      pointers[i] = at;
      at += align64(inputs_[i].bytes());
    }
    inner_->run(pointers, out, at);
  }

 private:
  static constexpr size_t kInputs = 16;
  Context& context_;
  std::vector<ArrayInfo> inputs_;
  std::vector<bool> packs_;
  int64_t bytes_ = 0;
  std::unique_ptr<Kernel> inner_;
};

bool all_read(const OpKernel& entry, const KernelRequest& request) {
  for (size_t i = 0; i < request.inputs.size(); ++i)
    if (!is_read(entry, request, i)) return false;
  return true;
}

/// Whether the kernel takes operands of these types.
bool takes(const OpKernel& entry, const KernelRequest& request) {
  for (const auto* arrays : {&request.inputs, &request.outputs})
    for (const ArrayInfo& array : *arrays)
      if (array.dtype == DType::bf16 && !entry.bf16) return false;
  return request.outputs[0].dtype != DType::f64;
}

class CpuBackend final : public kernels::HostBackend {
 public:
  explicit CpuBackend(int threads)
      : context_(std::make_unique<Context>(threads > 0 ? threads : available_threads())) {}

  std::string name() const override { return "cpu"; }
  int threads() const override { return context_->pool.threads(); }

  bool supports(const Node& node, std::span<const Type> inputs) const override {
    if (HostBackend::supports(node, inputs)) return true;
    const OpKernel* entry = find(node.op->name);
    if (!entry) return false;
    for (const Type& type : inputs)
      if (type.dtype == DType::f64 || (type.dtype == DType::bf16 && !entry->bf16)) return false;
    return !entry->supports || entry->supports(node, inputs);
  }

  bool writes_strided(const Node& node) const override {
    const OpKernel* entry = find(node.op->name);
    return entry && entry->writes_strided && entry->writes_strided(node) &&
           node.outputs[0].dtype != DType::f64 &&
           (node.outputs[0].dtype != DType::bf16 || entry->bf16);
  }

  std::unique_ptr<Kernel> lower(const KernelRequest& request) const override {
    const OpKernel* entry = find(request.node.op->name);
    if (entry && takes(*entry, request)) {
      if (entry->packs_inputs && !all_read(*entry, request))
        return std::make_unique<PackingKernel>(*context_, *entry, request);
      if (auto kernel = entry->make(*context_, request)) return kernel;
    }
    return HostBackend::lower(request);
  }

  std::optional<InstructionRate> instruction_rate(DType dtype, double seconds) const override {
    const ProductInstruction* const instruction = product_instruction(dtype);
    if (!instruction) return std::nullopt;
    using Clock = std::chrono::steady_clock;
    constexpr double kFlopsOfRun = 5e7;  // half a millisecond of vectors
    const auto rounds = static_cast<int64_t>(kFlopsOfRun / instruction->flops);
    const double flops = instruction->flops * static_cast<double>(rounds) * threads();
    std::vector<float> sums(static_cast<size_t>(threads()));
    InstructionRate rate{instruction->name};
    const Clock::time_point begun = Clock::now();
    std::chrono::duration<double> elapsed{};
    do {
      const Clock::time_point start = Clock::now();
      context_->pool.parallel_for(threads(), [&](int64_t task, int) {
        sums[static_cast<size_t>(task)] = instruction->run(rounds);
      });
      elapsed = Clock::now() - start;
      rate.gflops_per_second = std::max(rate.gflops_per_second, flops / elapsed.count() / 1e9);
      elapsed = Clock::now() - begun;
    } while (elapsed.count() < seconds);
    return rate;
  }

  void add(float* to, const float* from, int64_t n) const override {
    for_spans(context_->pool, n, [&](int64_t begin, int64_t end) {
      context_->vector.add_to(to + begin, from + begin, end - begin);
    });
  }

  std::string numerics_signature(DType compute) const override {
    // The vector kernels give the same bits on every level of the instruction set; oneDNN's
    // products depend on the one it uses.
    const std::string text = cat("cpu; ", onednn_version(), " on instruction set ", onednn_isa());
    if (compute != DType::bf16) return text;
    switch (bf16_way()) {
      case Bf16Way::kPairs:
        return text + ", bf16 in pairs";
      case Bf16Way::kTiles:
        return text + ", bf16 in parts";
      case Bf16Way::kWidened:
        return text + ", bf16 widened";
      case Bf16Way::kLibrary:
        break;
    }
    return text;
  }

 private:
  std::unique_ptr<Context> context_;
};

}  // namespace

}  // namespace cpu

namespace device {
extern const BackendEntry cpu_entry;
const BackendEntry cpu_entry = {"cpu", "all cores: oneDNN products, vector kernels, own threads",
                                [](int threads) -> std::unique_ptr<Backend> {
                                  return std::make_unique<cpu::CpuBackend>(threads);
                                }};
}  // namespace device

}  // namespace levanter

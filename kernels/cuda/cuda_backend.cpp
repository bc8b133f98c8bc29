// The CUDA backend: kernels written here, compiled by NVRTC for the card at hand, on one stream.
#include "kernels/cuda/backend.h"

#include <span>

#include "base/error.h"
#include "base/strings.h"
#include "kernels/cuda/kernel.h"
#include "kernels/cuda/products.h"

namespace levanter {

namespace cuda {

std::span<const CudaKernelEntry* const> entries();

namespace {

const OpKernel* find(const Node& node) {
  for (const CudaKernelEntry* entry : entries())
    for (const OpKernel& kernel : entry->kernels)
      if (kernel.op == node.op) return &kernel;
  return nullptr;
}

/// Memory of the card. The context is its backend's, which outlives its buffers.
class CardBuffer final : public Buffer {
 public:
  CardBuffer(const Device& device, int64_t bytes)
      : device_(device), data_(device.allocate(bytes)), bytes_(bytes) {}
  ~CardBuffer() override { device_.free(data_); }
  std::byte* data() const override { return data_; }
  int64_t bytes() const override { return bytes_; }

 private:
  const Device& device_;
  std::byte* data_;
  int64_t bytes_;
};

class CudaBackend final : public Backend {
 public:
  explicit CudaBackend(Source source)
      : context_(std::make_unique<Context>(std::move(source))), add_(*context_, "cast", "add") {}

  std::string name() const override { return "cuda"; }

  bool supports(const Node& node, std::span<const Type> inputs) const override {
    if (is(node, ops::input_entry) || is(node, ops::constant_entry)) return true;
    const OpKernel* kernel = find(node);
    return kernel && (!kernel->supports || kernel->supports(node, inputs));
  }
  /// Products go to a library, and not tile by tile through a region.
  bool joins(const Node& node) const override { return !is(node, ops::dot_entry); }
  bool writes_strided(const Node& node) const override {
    const OpKernel* kernel = find(node);
    return kernel && kernel->writes_strided && kernel->writes_strided(node);
  }
  std::unique_ptr<Kernel> lower(const KernelRequest& request) const override {
    const OpKernel* kernel = find(request.node);
    LEV_CHECK(kernel != nullptr, cat("the cuda backend has no kernel for ", request.node.op->name));
    return kernel->make(*context_, request);
  }

  std::unique_ptr<Buffer> allocate(int64_t bytes) const override {
    return std::make_unique<CardBuffer>(context_->device(), bytes);
  }
  std::string numerics_signature(DType) const override {
    const Device& device = context_->device();
    return cat("cuda; ", device.name(), ", ", device.architecture(), "; ",
               context_->modules().signature(), "; ", context_->products().signature(), "; ",
               context_->sdpa().signature());
  }
  void add(float* to, const float* from, int64_t n) const override {
    add_.loop(n, AddArguments{to, from, n});
  }

  int64_t product_side() const override { return context_->product_side(); }
  std::string device_name() const override { return context_->device().name(); }
  /// None where there is no card.
  std::optional<int64_t> device_memory() const override {
    try {
      return context_->device().free_memory();
    } catch (const Error& error) {
      if (error.kind() != ErrorKind::kDevice) throw;
      return std::nullopt;
    }
  }
  std::vector<std::string> devices() const override { return context_->cards(); }
  void take_device(size_t place) override { context_->take_card(place); }
  DeviceNetwork* network() const override { return &context_->network(); }
  std::unique_ptr<Recording> record(const Runnable& work) const override {
    return context_->device().record(work);
  }

  bool is_host() const override { return false; }
  void upload(std::byte* to, std::span<const std::byte> from) const override {
    context_->device().upload(to, from);
  }
  void download(std::span<std::byte> to, const std::byte* from) const override {
    context_->device().download(to, from);
  }
  void copy(std::byte* to, const std::byte* from, int64_t bytes) const override {
    context_->device().copy(to, from, bytes);
  }
  void fill(std::byte* to, int64_t bytes, std::byte value) const override {
    context_->device().fill(to, bytes, value);
  }
  void synchronize() const override { context_->device().synchronize(); }
  std::vector<Program> programs() const { return context_->modules().not_loaded(); }

 private:
  std::unique_ptr<Context> context_;
  Function add_;
};

}  // namespace

std::unique_ptr<Backend> make_backend() { return make_backend(Source{}); }

std::unique_ptr<Backend> make_backend(Source source) {
  return std::make_unique<CudaBackend>(std::move(source));
}

std::vector<Program> programs_of(const Backend& backend) {
  return dynamic_cast<const CudaBackend&>(backend).programs();
}

}  // namespace cuda

}  // namespace levanter

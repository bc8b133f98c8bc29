// The cpu backend over memory that the host cannot touch: what reads or writes it by another way
// than kernels and the calls of Memory ends with a segmentation fault.
#pragma once

#include <sys/mman.h>

#include <cstring>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <utility>

#include "base/error.h"
#include "base/integers.h"
#include "device/backends.h"

namespace levanter::testing {

class DistantBackend final : public Backend {
 public:
  /// `memory`: bytes that the device has.
  explicit DistantBackend(int threads, int64_t memory = int64_t{1} << 40)
      : cpu_(device::make_backend("cpu", threads)), memory_(memory) {}

  /// For train::RunOptions.
  static std::unique_ptr<Backend> make(std::string_view, int threads) {
    return std::make_unique<DistantBackend>(threads);
  }

  std::string name() const override { return "distant"; }
  bool supports(const Node& node, std::span<const Type> inputs) const override {
    return cpu_->supports(node, inputs);
  }
  std::unique_ptr<Kernel> lower(const KernelRequest& request) const override {
    return std::make_unique<DistantKernel>(cpu_->lower(request), gate_);
  }
  bool writes_strided(const Node& node) const override { return cpu_->writes_strided(node); }
  std::unique_ptr<Buffer> allocate(int64_t bytes) const override {
    return std::make_unique<Pages>(bytes, gate_);
  }
  std::string numerics_signature(DType compute) const override {
    return cpu_->numerics_signature(compute);
  }
  std::string device_name() const override { return "pages far away"; }
  std::optional<int64_t> device_memory() const override { return memory_; }
  int threads() const override { return cpu_->threads(); }
  void add(float* to, const float* from, int64_t n) const override {
    const Open open(*gate_);
    cpu_->add(to, from, n);
  }

  bool is_host() const override { return false; }
  void upload(std::byte* to, std::span<const std::byte> from) const override {
    const Open open(*gate_);
    std::memcpy(to, from.data(), from.size());
  }
  void download(std::span<std::byte> to, const std::byte* from) const override {
    const Open open(*gate_);
    std::memcpy(to.data(), from, to.size());
  }
  void copy(std::byte* to, const std::byte* from, int64_t bytes) const override {
    const Open open(*gate_);
    std::memcpy(to, from, static_cast<size_t>(bytes));
  }
  void fill(std::byte* to, int64_t bytes, std::byte value) const override {
    const Open open(*gate_);
    std::memset(to, static_cast<int>(value), static_cast<size_t>(bytes));
  }

 private:
  using Piece = std::pair<std::byte*, size_t>;

  /// All pages of a backend, and how many calls are at them.
  struct Gate {
    std::mutex mutex;
    std::set<Piece> pieces;
    int open = 0;

    void protect() const {
      for (const auto& [data, bytes] : pieces)
        ::mprotect(data, bytes, open > 0 ? PROT_READ | PROT_WRITE : PROT_NONE);
    }
  };

  /// Pages can be touched while one of these lives.
  class Open {
   public:
    explicit Open(Gate& gate) : gate_(gate) {
      const std::lock_guard lock(gate_.mutex);
      if (gate_.open++ == 0) gate_.protect();
    }
    ~Open() {
      const std::lock_guard lock(gate_.mutex);
      if (--gate_.open == 0) gate_.protect();
    }
    Open(const Open&) = delete;
    Open& operator=(const Open&) = delete;

   private:
    Gate& gate_;
  };

  class Pages final : public Buffer {
   public:
    Pages(int64_t bytes, std::shared_ptr<Gate> gate) : gate_(std::move(gate)), bytes_(bytes) {
      piece_.second = static_cast<size_t>(round_up(std::max<int64_t>(bytes, 1), 4096));
      const std::lock_guard lock(gate_->mutex);
      const int protection = gate_->open > 0 ? PROT_READ | PROT_WRITE : PROT_NONE;
      void* mapped = ::mmap(nullptr, piece_.second, protection,
                            MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
      LEV_CHECK(mapped != MAP_FAILED, "no memory for a test's pages");
      piece_.first = static_cast<std::byte*>(mapped);
      gate_->pieces.insert(piece_);
    }
    ~Pages() override {
      const std::lock_guard lock(gate_->mutex);
      gate_->pieces.erase(piece_);
      ::munmap(piece_.first, piece_.second);
    }
    std::byte* data() const override { return piece_.first; }
    int64_t bytes() const override { return bytes_; }

   private:
    std::shared_ptr<Gate> gate_;
    Piece piece_;
    int64_t bytes_;
  };

  class DistantKernel final : public Kernel {
   public:
    DistantKernel(std::unique_ptr<Kernel> kernel, std::shared_ptr<Gate> gate)
        : kernel_(std::move(kernel)), gate_(std::move(gate)) {}
    void run(const void* const* inputs, void* const* outputs, void* workspace) const override {
      const Open open(*gate_);
      kernel_->run(inputs, outputs, workspace);
    }
    int64_t workspace_bytes() const override { return kernel_->workspace_bytes(); }
    bool in_place(size_t output, size_t input) const override {
      return kernel_->in_place(output, input);
    }

   private:
    std::unique_ptr<Kernel> kernel_;
    std::shared_ptr<Gate> gate_;
  };

  std::unique_ptr<Backend> cpu_;
  int64_t memory_;
  std::shared_ptr<Gate> gate_ = std::make_shared<Gate>();
};

}  // namespace levanter::testing

// What the kernels of the CUDA backend share: the card, opened when it is first needed, and how a
// kernel's text is started on it.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "base/integers.h"
#include "device/backend.h"
#include "kernels/cuda/device.h"
#include "kernels/cuda/modules.h"
#include "kernels/cuda/network.h"
#include "kernels/cuda/sdpa.h"
#include "kernels/cuda/spaces.h"
#include "kernels/shared/strides.h"
#include "ops/attributes.h"
#include "ops/entries.h"

namespace levanter::cuda {

using kernels::stride_of;

class Products;

/// Where the libraries come from, and where compiled kernels are kept.
struct Source {
  std::function<Driver()> driver = open_driver;
  std::function<Nvrtc()> nvrtc = open_nvrtc;
  CublasLt (*cublas_lt)() = open_cublas_lt;
  std::string cache = default_cache_folder();
  /// Of a chunk of linear_xent, at most.
  int64_t logit_bytes = int64_t{2} << 30;
  int64_t product_side = 4096;  ///< of Backend
  /// Null for none.
  Cudnn (*cudnn)() = kOpenCudnn;
  SdpaLimits sdpa = {};
  /// Null for none.
  Nccl (*nccl)() = kOpenNccl;
};

/// The card of a backend and the functions on it.
class Context final {
 public:
  explicit Context(Source source);
  ~Context();

  /// Opens the card at the first call.
  /// error  kDevice where a library or the card is missing
  Device& device();
  /// The cards that there are, of which none is opened.
  std::vector<std::string> cards() const { return list_cards(source_.driver()); }
  /// Before the card is opened: the one of this place in cards(), the first unless told.
  void take_card(size_t place);
  Modules& modules() { return modules_; }
  int64_t logit_bytes() const { return source_.logit_bytes; }
  int64_t product_side() const { return source_.product_side; }
  Products& products() { return *products_; }
  Sdpa& sdpa() { return *sdpa_; }
  DeviceNetwork& network() { return *network_; }

 private:
  Source source_;
  std::mutex mutex_;
  size_t card_ = 0;
  std::unique_ptr<Device> device_;
  Modules modules_;
  std::unique_ptr<Products> products_;
  std::unique_ptr<Sdpa> sdpa_;
  std::unique_ptr<DeviceNetwork> network_;
};

/// A kernel by its name, found on the card when it first runs.
class Function final {
 public:
  /// The kernel `name` of kernels/cuda/device/<program>.cu.
  Function(Context& context, const char* program, std::string name)
      : context_(context), name_(std::move(name)) {
    context.modules().need(program);
  }
  /// A kernel whose text is made for it: `text` defines the kernel `name`, which no other text
  /// does.
  Function(Context& context, std::string name, std::string text)
      : context_(context), name_(std::move(name)) {
    context.modules().add(name_, std::move(text));
  }

  /// None where a number of blocks is 0.
  template <class Arguments>
  void launch(const Grid& grid, const Arguments& arguments) const {
    start(grid, &arguments);
  }
  /// As many blocks as are of use for a loop of the grid's threads over `count` elements.
  template <class Arguments>
  void loop(int64_t count, const Arguments& arguments) const {
    start({{loop_blocks(count), 1, 1}}, &arguments);
  }

 private:
  int64_t loop_blocks(int64_t count) const;
  void start(const Grid& grid, const void* arguments) const;
  CUfunction find(int64_t shared_bytes) const;

  Context& context_;
  std::string name_;
  mutable std::atomic<CUfunction> function_ = nullptr;
};

/// Base of the kernels: what they were asked for, and the context.
class CudaKernel : public Kernel {
 public:
  CudaKernel(Context& c, const KernelRequest& request)
      : context(c),
        attributes(request.node.attributes),
        inputs(request.inputs),
        outputs(request.outputs) {}

 protected:
  Context& context;
  const Attributes attributes;
  const std::vector<ArrayInfo> inputs, outputs;
};

/// A kernel of the CUDA backend for one op.
struct OpKernel {
  const Op* op = nullptr;
  std::unique_ptr<Kernel> (*make)(Context& context, const KernelRequest& request) = nullptr;
  /// Whether outputs may be strided views of a larger array; null: they may not.
  bool (*writes_strided)(const Node& node) = nullptr;
  /// Whether a composite has this kernel, or is decomposed; null: always.
  bool (*supports)(const Node& node, std::span<const Type> inputs) = nullptr;
};

/// What a file kernels/cuda/op_<name>.cpp defines: the kernels of one op or of a few of a kind.
struct CudaKernelEntry {
  OpKernel kernels[6];
};

inline constexpr int64_t kAlignment = 64;  ///< of buffers and of pieces of a workspace, in bytes
inline int64_t aligned(int64_t bytes) { return round_up(bytes, kAlignment); }

inline bool always(const Node&) { return true; }

template <class K>
std::unique_ptr<Kernel> make(Context& context, const KernelRequest& request) {
  return std::make_unique<K>(context, request);
}

/// A kernel of a request's one node, with the bits that the node has in a fused region.
std::unique_ptr<Kernel> make_region(Context& context, const KernelRequest& request);

/// Enqueues a copy of elements from one layout to another: the kernel of `copy`.
class CopyFunction final {
 public:
  /// `axes`: of the elements; `from` and `to` may have them in any order.
  CopyFunction(Context& context, DType dtype, const Axes& axes, const View& from, const View& to);
  void run(const void* from, void* to) const;

 private:
  Function function_;
  CopyArguments arguments_{};
};

}  // namespace levanter::cuda

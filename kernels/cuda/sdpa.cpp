// Attention by cuDNN: which shapes it gets, and the plans for them.
#include "kernels/cuda/sdpa.h"

#include <cmath>
#include <cstdlib>
#include <optional>
#include <string_view>
#include <type_traits>
#include <vector>

#include "base/error.h"
#include "base/strings.h"
#include "kernels/cuda/kernel.h"
#include "kernels/cuda/sdpa_graph.h"

namespace levanter::cuda {

namespace {

bool is_switched_off() {
  const char* value = std::getenv("LEVANTER_CUDNN");
  return value && std::string_view(value) == "0";
}

/// The library on an open card.
struct OpenCudnn {
  OpenCudnn(const Cudnn& functions, const Device& card)
      : cudnn(functions), device(card), handle(nullptr, functions.destroy) {
    cudnnHandle_t made = nullptr;
    require(cudnn, cudnn.create(&made), "start cuDNN");
    handle.reset(made);
    require(cudnn, cudnn.set_stream(made, reinterpret_cast<cudaStream_t>(device.stream())),
            "give cuDNN a stream");
  }

  Cudnn cudnn;
  const Device& device;
  std::unique_ptr<std::remove_pointer_t<cudnnHandle_t>, cudnnStatus_t (*)(cudnnHandle_t)> handle;
  mutable std::mutex mutex;  ///< of the handle: one thread at a time
};

class CudnnPlan final : public SdpaPlan {
 public:
  CudnnPlan(const OpenCudnn& library, const SdpaShape& shape, Plan plan)
      : library_(library), shape_(shape), plan_(std::move(plan)) {}

  std::string name() const override { return cat("cudnn ", plan_.name); }
  int64_t workspace_bytes() const override { return delta_at() + delta_bytes(); }

  void run(const std::array<const void*, kSdpaArrays>& arrays, float scale,
           void* workspace) const override {
    float hidden = -INFINITY, window = static_cast<float>(shape_.window), one = 1;
    std::vector<int64_t> ids;
    std::vector<void*> places;
    const auto pass = [&](int64_t id, const void* place) {
      ids.push_back(id);
      places.push_back(const_cast<void*>(place));
    };
    for (size_t i = 0; i < kSdpaArrays; ++i)
      if (arrays[i]) pass(id_of(static_cast<SdpaArray>(i)), arrays[i]);
    pass(kScaleId, &scale);
    if (shape_.causal) pass(kHiddenId, &hidden);
    if (shape_.window > 0) pass(kWindowId, &window);
    if (shape_.backward) {
      pass(kOneId, &one);
      pass(kDeltaId, static_cast<std::byte*>(workspace) + delta_at());
    }
    library_.device.enter();
    const std::lock_guard lock(library_.mutex);
    Descriptor pack(library_.cudnn, CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR, "what a plan gets");
    pack.set(CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS, CUDNN_TYPE_INT64, std::span<const int64_t>(ids));
    pack.set(CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS, CUDNN_TYPE_VOID_PTR,
             std::span<void* const>(places));
    pack.set(CUDNN_ATTR_VARIANT_PACK_WORKSPACE, CUDNN_TYPE_VOID_PTR, workspace);
    pack.finish();
    require(library_.cudnn,
            library_.cudnn.execute(library_.handle.get(), plan_.descriptor.get(), pack.get()),
            "run attention");
    library_.device.launched("attention of cuDNN");
  }

 private:
  /// After the plan's own workspace.
  int64_t delta_at() const {
    return shape_.backward ? aligned(plan_.workspace_bytes) : plan_.workspace_bytes;
  }
  int64_t delta_bytes() const {
    if (!shape_.backward) return 0;
    return shape_.batch * shape_.heads * shape_.queries * static_cast<int64_t>(sizeof(float));
  }

  const OpenCudnn& library_;
  const SdpaShape shape_;
  const Plan plan_;
};

class CudnnSdpa final : public Sdpa {
 public:
  CudnnSdpa(Context& context, Cudnn (*open)(), const SdpaLimits& limits)
      : context_(context), open_(is_switched_off() ? nullptr : open), limits_(limits) {}
  ~CudnnSdpa() override {
    if (library_) library_->device.driver().context_set_current(library_->device.context());
  }

  const SdpaPlan* find(const SdpaShape& shape) override {
    if (shape.queries < limits_.positions || shape.keys < limits_.positions) return nullptr;
    const std::lock_guard lock(mutex_);
    const auto found = plans_.find(shape);
    if (found != plans_.end()) return found->second.get();
    return plans_.emplace(shape, make(shape)).first->second.get();
  }

  std::string signature() override {
    const std::lock_guard lock(mutex_);
    const Cudnn* cudnn = functions();
    return cudnn ? cat("cudnn ", cudnn->get_version()) : "no cudnn";
  }

 private:
  /// Null where the library is not there.
  const Cudnn* functions() {
    if (!functions_ && open_) {
      try {
        functions_ = open_();
      } catch (const Error& error) {
        if (error.kind() != ErrorKind::kDevice) throw;
        open_ = nullptr;
      }
    }
    return functions_ ? &*functions_ : nullptr;
  }

  /// Null where there is no card.
  const Device* card() {
    try {
      return &context_.device();
    } catch (const Error& error) {
      if (error.kind() != ErrorKind::kDevice) throw;
      return nullptr;
    }
  }

  std::unique_ptr<SdpaPlan> make(const SdpaShape& shape) {
    const Cudnn* cudnn = functions();
    if (!cudnn) return nullptr;
    const Device* device = card();
    if (!device) return nullptr;
    const size_t version = cudnn->get_version();
    const int major = device->major();
    const EngineChoice engine = sdpa_engine(shape, major, version);
    if (engine.engine == kNoEngine || !sdpa_version_is_right(shape, major, version)) return nullptr;
    device->enter();
    if (!library_) library_.emplace(*cudnn, *device);
    const std::lock_guard lock(library_->mutex);
    Graph graph(library_->cudnn);
    add_sdpa(graph, shape);
    std::optional<Plan> plan =
        make_plan(graph, {library_->handle.get(), nullptr}, engine, limits_.workspace_bytes);
    if (!plan) return nullptr;
    return std::make_unique<CudnnPlan>(*library_, shape, std::move(*plan));
  }

  Context& context_;
  Cudnn (*open_)();
  const SdpaLimits limits_;
  std::mutex mutex_;
  std::optional<Cudnn> functions_;
  std::optional<OpenCudnn> library_;
  std::map<SdpaShape, std::unique_ptr<SdpaPlan>> plans_;  ///< null: by kernels of ours
};

}  // namespace

Cudnn (*const kOpenCudnn)() = open_cudnn;

std::unique_ptr<Sdpa> make_sdpa(Context& context, Cudnn (*open)(), const SdpaLimits& limits) {
  return std::make_unique<CudnnSdpa>(context, open, limits);
}

}  // namespace levanter::cuda

// In the place of cuDNN where the build found no headers of it.
#include "kernels/cuda/sdpa.h"

namespace levanter::cuda {

namespace {

class NoSdpa final : public Sdpa {
 public:
  const SdpaPlan* find(const SdpaShape&) override { return nullptr; }
  std::string signature() override { return "built without cudnn"; }
};

}  // namespace

Cudnn (*const kOpenCudnn)() = nullptr;

std::unique_ptr<Sdpa> make_sdpa(Context&, Cudnn (*)(), const SdpaLimits&) {
  return std::make_unique<NoSdpa>();
}

}  // namespace levanter::cuda

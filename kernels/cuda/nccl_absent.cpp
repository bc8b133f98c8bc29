// In the place of NCCL where the build found no headers of it.
#include "base/error.h"
#include "kernels/cuda/network.h"

namespace levanter::cuda {

namespace {

class NoNetwork final : public DeviceNetwork {
 public:
  std::string name() override {
    throw Error(ErrorKind::kDevice, "the program was built without NCCL");
  }
  std::string device() override { return ""; }
  std::string invitation() override { return ""; }
  std::unique_ptr<DeviceLink> join(std::string_view, int64_t, int64_t) override { return nullptr; }
  int64_t link_bytes(int64_t) const override { return 0; }
};

}  // namespace

Nccl (*const kOpenNccl)() = nullptr;

std::unique_ptr<DeviceNetwork> make_network(Context&, Nccl (*)()) {
  return std::make_unique<NoNetwork>();
}

}  // namespace levanter::cuda

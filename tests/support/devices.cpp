// The devices of the tests: those of the program, and the emulated card.
#include "support/devices.h"

#include "device/backends.h"
#if LEV_CUDA
#include "cuda/fake_cuda.h"
#endif

namespace levanter::testing {

namespace {

constexpr std::string_view kEmulated = "cuda";

}  // namespace

void for_each_device(const std::function<void(const std::string&, const Backend&)>& fn) {
  for (const BackendEntry* entry : device::entries()) {
    if (entry->name == kEmulated) continue;
    fn(entry->name, *entry->make(1));
  }
#if LEV_CUDA
  FakeCuda fake;
  fn(std::string(kEmulated), *FakeCuda::backend());
#endif
}

std::unique_ptr<Backend> make_device(std::string_view name, int threads) {
#if LEV_CUDA
  if (name == kEmulated) return FakeCuda::make(name, threads);
#endif
  return device::make_backend(name, threads);
}

}  // namespace levanter::testing

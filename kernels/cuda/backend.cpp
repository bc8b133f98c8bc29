// The device that trainer.device = "cuda" names, whether or not this program has it.
#include "kernels/cuda/backend.h"

namespace levanter::device {

namespace {

/// A little less than the card has: the driver takes its part.
constexpr DeviceModel kModels[] = {{"h200", int64_t{139} << 30},
                                   {"h100", int64_t{78} << 30},
                                   {"a100", int64_t{78} << 30},
                                   {"b200", int64_t{177} << 30},
                                   {"rtx4090", int64_t{23} << 30}};

}  // namespace

extern const BackendEntry cuda_entry;
const BackendEntry cuda_entry = {
    "cuda", "an NVIDIA card, by kernels of ours and cuBLASLt; never run on one yet",
    [](int) -> std::unique_ptr<Backend> { return cuda::make_backend(); }, kModels};

}  // namespace levanter::device

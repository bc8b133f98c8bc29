// The device that trainer.device = "cuda" names, whether or not this program has it.
#include "kernels/cuda/backend.h"

namespace levanter::device {

extern const BackendEntry cuda_entry;
const BackendEntry cuda_entry = {
    "cuda", "an NVIDIA card, by kernels of ours: slow and complete so far",
    [](int) -> std::unique_ptr<Backend> { return cuda::make_backend(); }};

}  // namespace levanter::device

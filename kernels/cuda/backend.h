// The CUDA backend.
#pragma once

#include <memory>

#include "device/backend.h"

namespace levanter::cuda {

struct Source;

/// A backend on the machine's libraries. It needs no card until it allocates or is asked for its
/// numerics' signature.
/// error  kDevice where the program was built without the toolkit's headers
std::unique_ptr<Backend> make_backend();
/// On the libraries of `source` (see kernels/cuda/kernel.h).
std::unique_ptr<Backend> make_backend(Source source);

}  // namespace levanter::cuda

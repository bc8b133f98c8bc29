// The CUDA backend.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "device/backend.h"

namespace levanter::cuda {

struct Source;

/// A backend on the machine's libraries. It needs no card until it allocates or is asked for its
/// numerics' signature.
/// error  kDevice where the program was built without the toolkit's headers
std::unique_ptr<Backend> make_backend();
/// On the libraries of `source` (see kernels/cuda/kernel.h).
std::unique_ptr<Backend> make_backend(Source source);

/// Kernels that are compiled together.
struct Program {
  std::string name, text;
};
/// Of a backend made here: what was compiled for it so far will need these, none of which its card
/// has yet.
std::vector<Program> programs_of(const Backend& backend);

}  // namespace levanter::cuda

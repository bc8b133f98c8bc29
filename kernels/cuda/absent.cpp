// In the place of the CUDA backend where the build found no headers of the toolkit.
#include "base/error.h"
#include "kernels/cuda/backend.h"

namespace levanter::cuda {

std::unique_ptr<Backend> make_backend() {
  throw Error(ErrorKind::kDevice, "this program was built without device cuda")
      .at("the build found no cuda.h and nvrtc.h")
      .hint(
          "install the CUDA toolkit's headers, release 12 or newer, and build anew, or set "
          "trainer.device = \"cpu\"");
}

}  // namespace levanter::cuda

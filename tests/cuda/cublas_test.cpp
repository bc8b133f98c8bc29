// The real cuBLASLt's functions; without a card it gives no more.
#include "kernels/cuda/cublas_lt.h"

#include "kernels/cuda/api.h"
#include "support/checks.h"

using namespace levanter;
using namespace levanter::testing;

TEST_CASE("the real cuBLASLt has the functions, or what is missing is said", "[cuda]") {
  cuda::CublasLt functions;
  const std::string error = error_of([&] { functions = cuda::open_cublas_lt(); });
  if (error == "") {
    CHECK(functions.get_version() >= 120000);
    return;
  }
  for (const char* part : {"cuBLASLt", "libcublasLt.so.13", "LD_LIBRARY_PATH", "cpu"})
    CHECK_THAT(error, Catch::Contains(part));
}

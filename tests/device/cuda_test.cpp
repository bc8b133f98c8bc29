// The device cuda by its name: known everywhere, and honest where it can't be had.
#include "device/backends.h"
#include "support/checks.h"
#include "support/fault.h"

using namespace levanter;
using namespace levanter::testing;

TEST_CASE("without a card, its driver or the build's headers, device cuda says what is missing",
          "[device]") {
  std::string error;
  try {
    const auto backend = device::make_backend("cuda", 0);
    CHECK(backend->name() == "cuda");
    CHECK_FALSE(backend->is_host());
    backend->allocate(1);
    return;  // this machine has a card
  } catch (const Error& e) {
    CHECK(e.kind() == ErrorKind::kDevice);
    error = e.what();
  }
  CHECK_THAT(error, Catch::Contains("device cuda"));
  CHECK_THAT(error, Catch::Contains("hint"));
  CHECK_THAT(error, Catch::Contains("cpu"));
}

// Optimised, planned and shared memory against every node on its own.
#include "passes/passes.h"
#include "runtime/executable.h"
#include "support/checks.h"
#include "support/forwarding_backend.h"
#include "support/random_function.h"

using namespace levanter;
using namespace levanter::testing;

namespace {

constexpr uint32_t kSeeds = 150;
constexpr const char* kDevices[] = {"cpu", "reference"};

/// The bits of compiled functions are those of their nodes one by one.
void check_bits(const Backend& backend, DType real) {
  for (uint32_t seed = 0; seed < kSeeds; ++seed) {
    INFO("seed " << seed << " on " << backend.name());
    const RandomFunction random = random_function(seed, real);
    const auto expected =
        run_eagerly(decompose(duplicate(random.function), backend), random.inputs, backend);
    CHECK(same_bits(run(decompose(duplicate(random.function), backend), random.inputs, backend),
                    expected));
    CHECK(same_bits(run(optimise(random.function, backend), random.inputs, backend), expected));
  }
}

}  // namespace

TEST_CASE("shared and reused memory changes no bit", "[runtime]") {
  check_bits(*make_backend("reference"), DType::f64);
  for (const char* device : kDevices) check_bits(*make_backend(device), DType::f32);
}

TEST_CASE("the number of threads changes no bit", "[runtime]") {
  for (const char* device : kDevices) {
    const auto one = make_backend(device, 1), three = make_backend(device, 3);
    for (uint32_t seed = 0; seed < kSeeds; ++seed) {
      INFO("seed " << seed << " on " << device);
      const RandomFunction random = random_function(seed, DType::f32);
      CHECK(same_bits(run(optimise(random.function, *one), random.inputs, *one),
                      run(optimise(random.function, *three), random.inputs, *three)));
    }
  }
}

TEST_CASE("concatenations written in place change no bit", "[runtime]") {
  check_bits(StridedBackend(), DType::f64);
}

TEST_CASE("the arena is never smaller than what is alive at once", "[runtime]") {
  const auto backend = make_backend("reference");
  for (uint32_t seed = 0; seed < kSeeds; ++seed) {
    const Executable executable =
        compile(optimise(random_function(seed, DType::f32).function, *backend), *backend);
    CHECK(executable.arena_bytes() >= executable.arena_lower_bound());
    int64_t alive = 0;
    for (const LiveBuffer& buffer : executable.peak()) alive += (buffer.bytes + 63) / 64 * 64;
    CHECK(alive == executable.arena_lower_bound());
  }
}

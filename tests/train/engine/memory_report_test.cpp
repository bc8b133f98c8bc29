// What a run needs of one memory or of two, told and refused.
#include "train/engine/memory_report.h"

#include <catch2/catch.hpp>

#include "support/distant_backend.h"
#include "support/fault.h"
#include "support/tiny_run.h"
#include "train/run.h"

using namespace levanter;
using namespace levanter::testing;
using Catch::Contains;

namespace {

constexpr const char* kStep = "num_train_steps = 1\n";
constexpr int64_t kSmall = 4096, kHost = int64_t{1} << 30;

std::unique_ptr<Backend> make_small(std::string_view, int threads) {
  return std::make_unique<DistantBackend>(threads, kSmall);
}

}  // namespace

TEST_CASE("a device's own memory is needed apart from the host's", "[train]") {
  const TinyRun run;
  const TrainConfig config = run.config("a", kStep);
  const DistantBackend distant(1, kSmall);
  const auto cpu = device::make_backend("cpu", 1);
  const train::CompiledStep step(train::step_options(config, 31, 0), *cpu);
  const train::MemoryTotal total = train::memory_total(step, config);

  const auto one = train::memory_needs(total, cpu->name(), cpu->device_memory(), kHost);
  REQUIRE(one.size() == 1);
  CHECK(one[0].needed == total.needed());
  CHECK(one[0].limit == kHost);

  const auto two = train::memory_needs(total, distant.name(), distant.device_memory(), kHost);
  REQUIRE(two.size() == 2);
  CHECK(two[0].needed == total.persistent + total.arena + total.workspace + total.first_run);
  CHECK(two[0].limit == kSmall);
  CHECK_FALSE(two[0].fits());
  CHECK(two[1].needed == total.loader + total.save);
  CHECK(two[1].limit == kHost);
  CHECK(two[1].fits());

  const std::string told = train::memory_report(config, step, two);
  CHECK_THAT(told, Contains(cat("device, all of these", std::string(6, ' '))));
  CHECK_THAT(told, Contains("\nhost "));
  CHECK_THAT(told, !Contains("\ntotal "));
  CHECK_THAT(train::memory_report(config, step, one), Contains("\ntotal ") && !Contains("\nhost "));
}

TEST_CASE("a run that the device has no memory for is refused before it starts", "[train]") {
  const TinyRun run;
  const TrainConfig config = run.config("small", kStep);
  const std::string error =
      failure_of(ErrorKind::kDevice, [&] { train::train(config, {.make_backend = make_small}); });
  CHECK_THAT(error, Contains("of distant's memory and there are 4.00 KiB"));
  CHECK_THAT(error, Contains("small.toml"));
  CHECK_THAT(error, Contains("allowed  at most 4.00 KiB"));
  CHECK_THAT(error, Contains("levanter plan"));
}

// The device cuda by its name: known everywhere, and honest where it can't be had.
#include "device/backends.h"
#include "support/checks.h"
#include "support/fault.h"
#include "support/program.h"
#include "support/source_root.h"
#include "support/tiny_run.h"

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

TEST_CASE("a plan for device cuda needs no card, and says whose memory it is for", "[device]") {
  const TinyRun run;
  const std::string config = run.config_file("plan", "num_train_steps = 2\ndevice = \"cuda\"\n");
  if (error_of([] { device::make_backend("cuda", 1); }) != "") return;  // a build without it
  const Ended plain = run_program({"plan", "--config", config});
  CHECK(plain.code == 0);
  CHECK_THAT(plain.out,
             Catch::Contains("cuda's memory") || Catch::Contains("device, all of these"));
  const Ended small = run_program({"plan", "--config", config, "--device-model", "rtx4090"});
  CHECK_THAT(small.out, Catch::Contains("device model   rtx4090") && Catch::Contains("23.0 GiB"));
  // A run that would be long, of which the time is not known without its card.
  const Ended large =
      run_program({"plan", "--config", cat(source_root(), "/configs/llama/llama_1b_gpu.toml"),
                   "--device-model", "h100"});
  CHECK(large.err == "");
  CHECK(large.code == 0);
  CHECK_THAT(large.out, Catch::Contains("1,235,814,400 parameters") &&
                            Catch::Contains("\nchecks in the first run") &&
                            Catch::EndsWith(" million\nFITS\n"));
  const Ended unknown = run_program({"plan", "--config", config, "--device-model", "gt710"});
  CHECK_THAT(unknown.err, Catch::Contains("gt710") && Catch::Contains("h200, h100"));
}

// levanter bench on the emulated card: each part runs and prints the keys that scripts rely on; its
// figures mean nothing here.
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>

#include <nlohmann/json.hpp>

#include "base/files.h"
#include "commands/command.h"
#include "cuda/fake_cuda.h"
#include "support/checks.h"
#include "support/program.h"

using namespace levanter;
using namespace levanter::testing;

namespace {

/// The standard output in a file while the object lives.
class Captured final {
 public:
  explicit Captured(std::string path) : path_(std::move(path)) {
    std::fflush(stdout);
    const int file = ::open(path_.c_str(), O_CREAT | O_TRUNC | O_WRONLY, 0600);
    ::dup2(file, STDOUT_FILENO);
    ::close(file);
  }
  ~Captured() { end(); }
  Captured(const Captured&) = delete;
  Captured& operator=(const Captured&) = delete;
  std::string end() {
    if (kept_ < 0) return "";
    std::fflush(stdout);
    ::dup2(kept_, STDOUT_FILENO);
    ::close(kept_);
    kept_ = -1;
    return read_file(path_);
  }

 private:
  std::string path_;
  int kept_ = ::dup(STDOUT_FILENO);
};

/// `levanter bench <part> --config run.toml --json --trainer.device=cuda` in this process.
nlohmann::json bench(const SmallRun& run, const std::string& part) {
  commands::Arguments arguments;
  arguments.words = {part};
  arguments.values = {{"config", run / "run.toml"}, {"steps", "1"}};
  arguments.flags = {"json"};
  arguments.overrides = {"--trainer.device=cuda", "--model.vocab_size=16"};
  arguments.make_backend = FakeCuda::make;
  for (const commands::CommandEntry* entry : commands::entries())
    for (const commands::CommandEntry& command : entry->commands)
      if (entry->name == std::string("bench") && command.name == part) {
        Captured captured(run / "out.json");
        CHECK(command.run(arguments) == 0);
        return nlohmann::json::parse(captured.end());
      }
  return {};
}

bool has_keys(const nlohmann::json& object, const std::vector<std::string>& keys) {
  return std::all_of(keys.begin(), keys.end(),
                     [&](const std::string& key) { return object.contains(key); });
}

}  // namespace

TEST_CASE("bench gemm runs on the emulated card", "[cuda]") {
  const SmallRun run;
  FakeCuda fake;
  const nlohmann::json gemm = bench(run, "gemm");
  CHECK(has_keys(gemm, {"peak_gflops_per_second", "dtype", "threads", "products", "peaks"}));
  REQUIRE(gemm["peaks"].size() == 2);  // f32 and bf16
  CHECK(gemm["peaks"][1]["dtype"] == "bf16");
  CHECK(gemm["products"].size() == 6);  // two squares and the model's, of which two are alike
  CHECK(fake.cublas.products() > 14);
  CHECK(fake.fault() == "");
}

TEST_CASE("bench step runs on the emulated card", "[cuda]") {
  const SmallRun run;
  FakeCuda fake;
  const nlohmann::json step = bench(run, "step");
  CHECK(has_keys(step, {"tokens_per_second", "ms_per_step", "gflops_per_second",
                        "peak_gflops_per_second", "fraction_of_peak", "dtype", "ready_seconds"}));
  CHECK(step["tokens_per_second"] > 0);
  CHECK(fake.fault() == "");
}

TEST_CASE("bench kernels runs on the emulated card, kernel by kernel", "[cuda]") {
  const SmallRun run;
  FakeCuda fake;
  const nlohmann::json result = bench(run, "kernels");
  CHECK(has_keys(result, {"memory_gbytes_per_second", "peak_gflops_per_second", "kernels"}));
  bool attends = false;
  for (const auto& kernel : result["kernels"]) {
    CHECK(has_keys(kernel, {"kernel", "seconds", "calls", "fraction_of_time", "fraction_of_memory",
                            "fraction_of_peak"}));
    attends = attends || kernel["kernel"] == "attention";
  }
  CHECK(attends);
  CHECK(fake.fault() == "");
}

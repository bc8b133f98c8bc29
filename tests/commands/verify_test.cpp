// `levanter verify`: what it says of good and of bad checkpoints.
#include <catch2/catch.hpp>

#include <nlohmann/json.hpp>

#include "base/strings.h"
#include "support/fault.h"
#include "support/program.h"

using namespace levanter;
using namespace levanter::testing;

namespace {
constexpr int kBad = 4;
}

TEST_CASE("a good checkpoint is verified with its step and hash", "[commands]") {
  const SmallRun run;
  REQUIRE(run.train().code == 0);
  const Ended json = run({"verify", "--checkpoint", "logs/run", "--json"});
  CHECK(json.code == 0);
  CHECK(json.err == "");
  const auto report = nlohmann::json::parse(json.out);
  CHECK(report.size() == 3);
  CHECK(report["step"] == 20);
  CHECK(report["ok"] == true);
  const std::string hash = report["params_hash"];
  CHECK(hash.size() == 32);
  CHECK(run({"verify", "--checkpoint", "logs/run/checkpoints/step-20"}).out ==
        cat("logs/run/checkpoints/step-20\nstep         20\nparams_hash  ", hash, "\nok\n"));
  const auto other = nlohmann::json::parse(
      run({"verify", "--checkpoint", "logs/run/checkpoints/step-10", "--json"}).out);
  CHECK(other["step"] == 10);
  CHECK(other["params_hash"] != hash);
}

TEST_CASE("each kind of damage is found, and the newest good checkpoint named", "[commands]") {
  const SmallRun run;
  REQUIRE(run.train().code == 0);
  const std::string step = run / "logs/run/checkpoints/step-20";
  for (const std::string& name : list_directory(step)) {
    INFO(name);
    const std::string path = join_path(step, name);
    const std::string whole = read_file(path);
    flip_bit(path, whole.size() / 2, 2);
    const Ended flipped = run({"verify", "--checkpoint", "logs/run", "--json"});
    CHECK(flipped.code == kBad);
    CHECK(flipped.err.starts_with("bad   logs/run/checkpoints/step-20: "));
    const auto report = nlohmann::json::parse(flipped.out);
    CHECK(report["ok"] == false);
    CHECK(report["step"] == 10);
    truncate_file(path, whole.size() - 1);
    const Ended truncated = run({"verify", "--checkpoint", "logs/run/checkpoints/step-20"});
    CHECK(truncated.code == kBad);
    CHECK(truncated.out.ends_with("not ok\n"));
    write_file_atomic(path, whole);
  }
  CHECK(run({"verify", "--checkpoint", "logs/run"}).code == 0);
}

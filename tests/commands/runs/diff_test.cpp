// `levanter diff`: where two runs part.
#include <catch2/catch.hpp>

#include <nlohmann/json.hpp>

#include "base/strings.h"
#include "support/fault.h"
#include "support/program.h"

using namespace levanter;
using namespace levanter::testing;

namespace {
const std::string kA = "--trainer.id=a", kB = "--trainer.id=b";
}

TEST_CASE("equal runs have no difference, and a changed bit of a checkpoint is found",
          "[commands]") {
  const SmallRun run;
  REQUIRE(run.train({kA}).code == 0);
  REQUIRE(run.train({kB, "--trainer.threads=2"}).code == 0);
  const Ended other_threads = run({"diff", "logs/a", "logs/b"});
  CHECK(other_threads.code == 1);
  CHECK_THAT(other_threads.out, Catch::StartsWith("config\n  trainer.threads"));
  REQUIRE(run.train({"--trainer.id=c"}).code == 0);
  const Ended equal = run({"diff", "logs/a", "logs/c"});
  CHECK(equal.code == 0);
  CHECK(equal.out == "");
  CHECK(equal.err == "");

  const std::string file = run / "logs/c/checkpoints/step-20/model.safetensors";
  flip_bit(file, read_file(file).size() - 1, 0);  // the last element of the last tensor
  const Ended json = run({"diff", "logs/a", "logs/c", "--json"});
  CHECK(json.code == 1);
  CHECK_THAT(json.err, Catch::Contains("does not match its checksum"));
  const auto tensor = nlohmann::json::parse(json.out)["tensor"];
  CHECK(tensor["step"] == 20);
  CHECK(tensor["differing"] == 1);
  const Ended steps = run({"diff", "logs/a/checkpoints/step-20", "logs/c/checkpoints/step-20"});
  CHECK(steps.code == 1);
  CHECK_THAT(steps.out, Catch::StartsWith("checkpoints differ from step 20 on\n  " +
                                          tensor["name"].get<std::string>() + "["));
  CHECK_THAT(steps.out, Catch::Contains("(1 of "));
}

TEST_CASE("a part that one run has not, or that cannot be read, is a difference and a note",
          "[commands]") {
  const SmallRun run;
  REQUIRE(run.train({kA}).code == 0);
  REQUIRE(run.train({kB}).code == 0);
  const std::string file = run / "logs/b/checkpoints/step-20/model.safetensors";
  write_file_atomic(file, read_file(file).substr(0, 1000));
  const Ended cut = run({"diff", "logs/a", "logs/b"});
  CHECK(cut.code == 1);
  CHECK_THAT(cut.err, Catch::StartsWith("note  checkpoints of step 20: cannot read "));
  remove_tree(run / "logs/b/checkpoints");
  const Ended none = run({"diff", "logs/a", "logs/b"});
  CHECK(none.code == 1);
  CHECK_THAT(none.err, Catch::Contains("there is no step of which both have a checkpoint"));
  REQUIRE(run.train({"--trainer.id=c", "--trainer.num_train_steps=15"}).code == 0);
  CHECK(run({"diff", "logs/a", "logs/c"}).code == 1);
}

TEST_CASE("runs of two seeds differ in the seed and from step 1 on", "[commands]") {
  const SmallRun run;
  REQUIRE(run.train({kA}).code == 0);
  REQUIRE(run.train({kB, "--trainer.seed=7"}).code == 0);
  const Ended text = run({"diff", "logs/a", "logs/b"});
  CHECK(text.code == 1);
  CHECK_THAT(text.out, Catch::StartsWith("config\n  trainer.seed  0  7\nmetrics differ from step 1 "
                                         "on\n  train/loss "));
  CHECK_THAT(text.out, Catch::Contains("\ncheckpoints differ from step 10 on\n"));
  const auto json = nlohmann::json::parse(run({"diff", "logs/a", "logs/b", "--json"}).out);
  CHECK(json["equal"] == false);
  CHECK(json["first_step"] == 1);
  CHECK(json["config"] == nlohmann::json{{"trainer.seed", {"0", "7"}}});
  CHECK(json["provenance"].empty());
}

TEST_CASE("what is no run is refused, with what one is", "[commands]") {
  const SmallRun run;
  const Ended one = run({"diff", "logs/a"});
  CHECK(one.code == 2);
  CHECK_THAT(one.err, Catch::Contains("levanter diff A B"));
  CHECK_THAT(run({"diff", ".", "."}).err, Catch::StartsWith("error: . is no run's folder"));
}

// `levanter eval`: the same losses as the run itself, as a table and as JSON.
#include <catch2/catch.hpp>

#include <nlohmann/json.hpp>

#include "base/strings.h"
#include "support/program.h"

using namespace levanter;
using namespace levanter::testing;

TEST_CASE("eval gives the losses that the run measured at its end, to the bit", "[commands]") {
  const SmallRun run;
  REQUIRE(run.train().code == 0);
  const auto summary = nlohmann::json::parse(read_file(run / "logs/run/summary.json"));
  for (const char* checkpoint :
       {"logs/run", "logs/run/checkpoints", "logs/run/checkpoints/step-20"}) {
    const Ended ended = run({"eval", "--checkpoint", checkpoint, "--json"});
    CHECK(ended.code == 0);
    CHECK(ended.err == "");
    const auto metrics = nlohmann::json::parse(ended.out);
    CHECK(metrics["step"] == 20);
    CHECK(metrics["eval/loss"] == summary["eval/loss"]);
    CHECK(metrics["eval/bpb"] == summary["eval/bpb"]);
  }
}

TEST_CASE("eval takes other data, other batches and fewer of them", "[commands]") {
  const SmallRun run;
  REQUIRE(run.train().code == 0);
  const auto loss = [&](std::vector<std::string> words) {
    words.insert(words.begin(), {"eval", "--checkpoint", "logs/run", "--json"});
    const Ended ended = run(words);
    REQUIRE(ended.code == 0);
    return nlohmann::json::parse(ended.out)["eval/loss"].get<double>();
  };
  const double all = loss({});
  CHECK(loss({"--trainer.microbatch_size=2"}) == all);
  CHECK(loss({"--trainer.threads=2"}) == all);
  CHECK(loss({"--config", "run.toml"}) == all);
  CHECK(loss({"--trainer.max_eval_batches=1"}) != all);
  write_file_atomic(run / "b.txt", std::string(100, 'a') + " cat ran to a mat");
  write_file_atomic(run / "other.toml",
                    "[model]\nmax_seq_len = 16\nhidden_dim = 16\nnum_layers = 1\nnum_heads = 2\n"
                    "[data.components.words]\ntrain = [\"a.txt\"]\nvalidation = [\"b.txt\"]\n");
  CHECK(loss({"--config", "other.toml"}) != all);
}

TEST_CASE("eval prints a table for people", "[commands]") {
  const SmallRun run;
  REQUIRE(run.train().code == 0);
  const std::vector<std::string> lines = split(run({"eval", "--checkpoint", "logs/run"}).out, '\n');
  REQUIRE(lines.size() >= 3);
  CHECK(lines[0] == "logs/run/checkpoints/step-20");
  CHECK(lines[1].starts_with("eval/loss "));
  CHECK(lines[2].starts_with("eval/bpb "));
}

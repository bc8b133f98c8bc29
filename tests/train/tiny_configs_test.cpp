// Every family's tiny config learns from a text in a few steps.
#include <catch2/catch.hpp>

#include <nlohmann/json.hpp>

#include "base/files.h"
#include "base/strings.h"
#include "support/program.h"

using namespace levanter;
using namespace levanter::testing;

TEST_CASE("every tiny config learns", "[train]") {
  const std::string folder = cat(LEVANTER_SOURCE_ROOT, "/configs/tiny");
  const SmallRun run;
  for (const std::string& name : list_directory(folder)) {
    INFO(name);
    const Ended ended =
        run({"train", "--config", join_path(folder, name), "--data.components.text.train=['a.txt']",
             "--data.components.text.validation_fraction=0.2", "--model.max_seq_len=16",
             "--trainer.num_train_steps=40", "--trainer.steps_per_eval=20", "--trainer.id=tiny"});
    INFO(ended.err);
    REQUIRE(ended.code == 0);
    const std::vector<std::string> lines = split(read_file(run / "logs/tiny/metrics.jsonl"), '\n');
    const double first = nlohmann::json::parse(lines.front())["train/loss"];
    const auto summary = nlohmann::json::parse(read_file(run / "logs/tiny/summary.json"));
    CHECK(summary["train/loss"].get<double>() < first - 0.5);
  }
}

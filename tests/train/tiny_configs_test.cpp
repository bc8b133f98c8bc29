// Every family's tiny config learns from a text in a few steps, and what it learned can be used.
#include <catch2/catch.hpp>

#include <cmath>
#include <nlohmann/json.hpp>

#include "base/files.h"
#include "base/strings.h"
#include "models/model.h"
#include "support/source_root.h"
#include "support/program.h"

using namespace levanter;
using namespace levanter::testing;

TEST_CASE("every family has a tiny config, which learns and writes", "[train]") {
  const SmallRun run;
  const std::string prompts =
      "{\"prompt\": \"the\"}\n{\"prompt\": \"\"}\n{\"prompt\": \"a cat sat on\"}\n";
  for (const models::ModelEntry* family : models::entries()) {
    const std::string name = family->name;
    INFO(name);
    const Ended ended = run(
        {"train", "--config", cat(testing::source_root(), "/configs/tiny/", name, ".toml"),
         "--data.components.text.train=['a.txt']", "--data.components.text.validation_fraction=0.2",
         "--model.max_seq_len=16", "--trainer.num_train_steps=40", "--trainer.steps_per_eval=20",
         "--trainer.watch={ every = 40, what = ['attention'] }", cat("--trainer.id=", name)});
    INFO(ended.err);
    REQUIRE(ended.code == 0);
    const std::string folder = join_path("logs", name);
    const std::vector<std::string> lines =
        split(read_file(run / join_path(folder, "metrics.jsonl")), '\n');
    const double first = nlohmann::json::parse(lines.front())["train/loss"];
    int64_t layers = 0;
    const auto last = nlohmann::json::parse(lines.at(39));
    for (const auto& [key, value] : last.items()) {
      layers += key.starts_with("watch/attention_entropy/");
      if (key.starts_with("watch/attention_entropy/")) {
        CHECK(value.get<double>() > 0);
        CHECK(value.get<double>() < std::log(16.0));
      }
      if (key.starts_with("watch/attention_max_logit/")) CHECK(std::isfinite(value.get<double>()));
    }
    CHECK(layers >= 2);
    const auto summary = nlohmann::json::parse(read_file(run / join_path(folder, "summary.json")));
    CHECK(summary["train/loss"].get<double>() < first - 0.5);
    CHECK(summary.contains("moe/layer1/expert3_load") ==
          (name == "mixtral" || name == "qwen3_moe"));
    const auto written = [&](const char* batch) {
      return run({"generate", "--checkpoint", folder, "--json", "--temperature", "0",
                  "--max-new-tokens", "30", "--batch", batch},
                 {.input = prompts})
          .out;
    };
    CHECK(split(written("1"), '\n').size() >= 3);
    CHECK(written("16") == written("1"));
  }
}

TEST_CASE("a mixture of experts trains to the same bits on any ranks and threads", "[train]") {
  const SmallRun run;
  const auto hash_of = [&](const char* ranks, const char* threads) {
    const std::string id = cat("r", ranks, "t", threads);
    const Ended ended = run(
        {"train", "--config", cat(testing::source_root(), "/configs/tiny/mixtral.toml"),
         "--data.components.text.train=['a.txt']", "--data.components.text.validation_fraction=0.2",
         "--model.max_seq_len=16", "--trainer.num_train_steps=5", "--trainer.microbatch_size=2",
         "--trainer.communicator=threads", cat("--trainer.ranks=", ranks),
         cat("--trainer.threads=", threads), cat("--trainer.id=", id)});
    INFO(ended.err);
    REQUIRE(ended.code == 0);
    return read_file(run / cat("logs/", id, "/checkpoints/step-5/model.safetensors"));
  };
  const std::string expected = hash_of("1", "1");
  CHECK(hash_of("1", "2") == expected);
  CHECK(hash_of("2", "1") == expected);
}

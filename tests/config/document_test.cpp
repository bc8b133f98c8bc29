// Includes, overrides and where values come from.
#include "config/document.h"

#include <catch2/catch.hpp>
#include <string>
#include <vector>

#include "base/files.h"
#include "support/temporary_folder.h"
#include "train/config/train_config.h"

using namespace levanter;
using testing::TemporaryFolder;

namespace {

using Words = std::vector<std::string>;

TrainConfig parse(const std::string& text, const Words& overrides = {}) {
  return parse_train_config(text, "run.toml", overrides);
}

}  // namespace

TEST_CASE("includes come first, tables merge and arrays replace", "[config]") {
  const TemporaryFolder folder;
  make_directories(folder / "parts");
  write_file_atomic(
      folder / "parts/a.toml",
      "[trainer]\nseed = 1\nsteps_per_eval = 10\ntracker = [\"console\", \"jsonl\"]\n");
  write_file_atomic(folder / "parts/b.toml", "include = \"c.toml\"\n[trainer]\nseed = 2\n");
  write_file_atomic(folder / "parts/c.toml", "[trainer]\nseed = 3\nmax_eval_batches = 5\n");
  write_file_atomic(folder / "run.toml",
                    "include = [\"parts/a.toml\", \"parts/b.toml\"]\n[trainer]\ntracker = "
                    "[\"jsonl\"]\nnum_train_steps = 7\n");
  const TrainConfig config = load_train_config(folder / "run.toml");
  CHECK(config.trainer.seed == 2);
  CHECK(config.trainer.steps_per_eval == 10);
  CHECK(config.trainer.max_eval_batches == 5);
  REQUIRE(config.trainer.tracker.size() == 1);
  CHECK(config.trainer.tracker[0].type == "jsonl");
  CHECK(config.trainer.num_train_steps == 7);
  CHECK(config.where("trainer.seed") == folder / "parts/b.toml" + ":3:8");
  CHECK(config.where("trainer.max_eval_batches") == folder / "parts/c.toml" + ":3:20");
}

TEST_CASE("a file included twice by different paths is no cycle", "[config]") {
  const TemporaryFolder folder;
  write_file_atomic(folder / "base.toml", "[trainer]\nseed = 4\n");
  write_file_atomic(folder / "a.toml", "include = \"base.toml\"\n");
  write_file_atomic(folder / "run.toml", "include = [\"a.toml\", \"base.toml\"]\n");
  CHECK(load_train_config(folder / "run.toml").trainer.seed == 4);
}

TEST_CASE("paths in a file start from its folder, in overrides from the working directory",
          "[config]") {
  const TemporaryFolder folder;
  make_directories(folder / "texts");
  write_file_atomic(folder / "texts/base.toml",
                    "[data.components.letters]\ntrain = [\"a.txt\", \"/b.txt\"]\n");
  write_file_atomic(folder / "run.toml",
                    "include = \"texts/base.toml\"\n[data.components.letters]\nvalidation = "
                    "\"../v.txt\"\n");
  const Words overrides = {"--trainer.log_dir", "here"};
  const TrainConfig config = load_train_config(folder / "run.toml", overrides);
  const ComponentConfig& letters = config.data.components.at("letters");
  REQUIRE(letters.train.size() == 2);
  CHECK(letters.train[0].text == "a.txt");
  CHECK(letters.train[0].resolved == folder / "texts/a.txt");
  CHECK(letters.train[1].resolved == "/b.txt");
  CHECK(letters.validation.at(0).resolved == absolute_path(folder / "../v.txt"));
  CHECK(config.trainer.log_dir.resolved == absolute_path("here"));
  CHECK(load_train_config(folder / "run.toml").trainer.log_dir.resolved == absolute_path("logs"));
}

TEST_CASE("overrides win over files, later ones over earlier ones", "[config]") {
  const TrainConfig config = parse("[trainer]\nseed = 1\nnum_train_steps = 5\n",
                                   {"--trainer.seed=2", "--trainer.seed", "3"});
  CHECK(config.trainer.seed == 3);
  CHECK(config.trainer.num_train_steps == 5);
  CHECK(config.where("trainer.seed") == "--trainer.seed=3");
  CHECK(config.where("trainer.num_train_steps") == "run.toml:3:19");
  CHECK(config.where("trainer.steps_per_eval") == "run.toml:1:1 (default)");
  CHECK(config.where("optimizer.beta1") == "run.toml (default)");
}

TEST_CASE("a string field takes an override as it stands, others read TOML", "[config]") {
  const TrainConfig config = parse(
      "", {"--trainer.id", "007", "--trainer.mp=f32", "--optimizer.learning_rate=1e-4",
           "--trainer.checkpointer.save_interval", "90s", "--optimizer.cycles=[100, 200]",
           "--model.use_bias", "false", "--trainer.tracker", "jsonl", "--optimizer.decay_roles",
           "[\"weight\", \"norm\"]", "--optimizer.max_grad_norm=none", "--data.tokenizer", "char",
           "--model.type=gpt2", "--data.components.letters.train=my letters.txt"});
  CHECK(config.trainer.id == "007");
  CHECK(config.optimizer->learning_rate == 1e-4);
  CHECK(config.trainer.checkpointer.save_interval->seconds == 90);
  CHECK(config.optimizer->cycles.listed);
  CHECK(config.optimizer->cycles.values == std::vector<int64_t>{100, 200});
  REQUIRE(config.trainer.tracker.size() == 1);
  CHECK(config.trainer.tracker[0].type == "jsonl");
  CHECK(config.optimizer->decay_roles == Words{"weight", "norm"});
  CHECK(config.data.tokenizer.type == "char");
  CHECK(config.data.components.at("letters").train.at(0).text == "my letters.txt");
}

TEST_CASE("an override with a table merges into what is there", "[config]") {
  const std::string text =
      "[trainer]\ncheckpointer = { save_interval = \"1m\", keep = [{ every = 5 }] }\n";
  const TrainConfig config = parse(text, {"--trainer.checkpointer={save_interval = 30}",
                                          "--trainer={seed = 9}", "--trainer.num_train_steps=8"});
  CHECK(config.trainer.checkpointer.save_interval->seconds == 30);
  REQUIRE(config.trainer.checkpointer.keep.size() == 1);
  CHECK(config.trainer.checkpointer.keep[0].every == 5);
  CHECK(config.trainer.seed == 9);
  CHECK(config.trainer.num_train_steps == 8);
}

TEST_CASE("an override of a choice's key keeps the type that a file chose by its short name",
          "[config]") {
  const std::string text = "[optimizer]\nlr_schedule = \"polynomial\"\n";
  const TrainConfig config = parse(text, {"--optimizer.lr_schedule.power=3"});
  CHECK(config.optimizer->lr_schedule.type == "polynomial");
  CHECK(config.optimizer->lr_schedule->at(1, {.lr = 1, .steps = 2}) == 0.125);
  CHECK(parse(text, {"--optimizer.lr_schedule=linear"}).optimizer->lr_schedule.type == "linear");
}

TEST_CASE("a config that is not there is an error of the configuration", "[config]") {
  const TemporaryFolder folder;
  write_file_atomic(folder / "run.toml", "");
  CHECK_NOTHROW(load_train_config(folder / "run.toml"));
  for (const std::string& name : {std::string("ran.toml"), std::string("no/run.toml")}) {
    try {
      load_train_config(folder / name);
      FAIL("a missing config was accepted");
    } catch (const Error& error) {
      CHECK(error.kind() == ErrorKind::kConfig);
      CHECK(std::string(error.what()).find("hint") != std::string::npos);
    }
  }
}

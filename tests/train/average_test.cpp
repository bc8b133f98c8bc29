// Means of the weights: evaluated, exported and saved, and without a trace in what is trained.
#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

#include "checkpoint/load.h"
#include "support/fault.h"
#include "support/tiny_run.h"
#include "train/hf/export.h"
#include "train/run.h"

using namespace levanter;
using namespace levanter::testing;
using nlohmann::json;

namespace {

struct Ended {
  Checkpoint checkpoint;
  json metrics;                      ///< of the last step
  std::string weights, ema_weights;  ///< files of the folders that the run has exported
};

std::string weights_in(const std::string& folder) {
  const std::string file = join_path(folder, "model.safetensors");
  return path_exists(file) ? read_file(file) : "";
}

Ended train_six(const TinyRun& run, const std::string& id, int64_t ranks,
                std::vector<std::string> overrides) {
  const std::string hf = run.folder / "hf";
  overrides.push_back("--hf_save_path=" + hf);
  const TrainConfig config = run.config("a",
                                        cat("num_train_steps = 6\nranks = ", ranks,
                                            "\nid = ", quote(id), "\ncommunicator = \"threads\"\n"),
                                        "", overrides);
  REQUIRE(train::train(config, {}) == train::Outcome::kFinished);
  json metrics;
  for (const std::string& line :
       split(read_file(join_path(config.run_folder(), "metrics.jsonl")), '\n'))
    if (!line.empty()) metrics.update(json::parse(line));
  return {read_checkpoint(join_path(config.run_folder(), "checkpoints/step-6")), metrics,
          weights_in(join_path(hf, id + "/step-6")), weights_in(join_path(hf, id + "/ema/step-6"))};
}

/// What export writes of a checkpoint.
std::string exported(const TinyRun& run, const Ended& ended, bool ema) {
  std::vector<std::string> problems;
  const std::string out = run.folder / (ema ? "of-mean" : "of-weights");
  train::export_hf(train::hf_source(ended.checkpoint.folder(), problems, ema), out,
                   {.overwrite = true});
  return weights_in(out);
}

}  // namespace

TEST_CASE("a mean of the weights is evaluated and exported beside them, by any ranks", "[train]") {
  const TinyRun run;
  const Ended none = train_six(run, "none", 1, {});
  const Ended one = train_six(run, "one", 1, {"--optimizer.ema={decay=0.9}"});
  const Ended three = train_six(run, "three", 3, {"--optimizer.ema={decay=0.9}"});
  const Ended parted =
      train_six(run, "parted", 3, {"--optimizer.ema={decay=0.9}", "--trainer.shard=parameters"});
  CHECK(one.checkpoint.params_hash() == none.checkpoint.params_hash());
  CHECK(parted.checkpoint.params_hash() == none.checkpoint.params_hash());
  CHECK(parted.metrics["eval/loss"] == none.metrics["eval/loss"]);
  CHECK(parted.metrics["eval/ema/loss"] == one.metrics["eval/ema/loss"]);
  CHECK(parted.ema_weights == one.ema_weights);
  CHECK(parted.weights == one.weights);
  CHECK(three.checkpoint.params_hash() == none.checkpoint.params_hash());
  CHECK(one.metrics["eval/loss"] == none.metrics["eval/loss"]);
  CHECK(one.metrics["eval/ema/loss"] != none.metrics["eval/loss"]);
  CHECK_FALSE(none.metrics.contains("eval/ema/loss"));
  CHECK(three.metrics["eval/ema/loss"] == one.metrics["eval/ema/loss"]);
  CHECK(one.weights == none.weights);
  CHECK_FALSE(one.ema_weights.empty());
  CHECK(one.ema_weights != one.weights);
  CHECK(three.ema_weights == one.ema_weights);
  CHECK(exported(run, one, true) == one.ema_weights);
  CHECK(exported(run, one, false) == one.weights);
  CHECK_THAT(failure_of(ErrorKind::kCheckpoint, [&] { exported(run, none, true); }),
             Catch::Contains("has no running mean of the weights"));
}

TEST_CASE("a mean without memory is the weights themselves", "[train]") {
  const TinyRun run;
  const Ended ended = train_six(run, "now", 1, {"--optimizer.ema={decay=0.0}"});
  CHECK(ended.metrics["eval/ema/loss"] == ended.metrics["eval/loss"]);
  CHECK(ended.ema_weights == ended.weights);
}

TEST_CASE("what schedule_free evaluates and exports is its mean, and not where it trains",
          "[train]") {
  const TinyRun run;
  const std::vector<std::string> overrides = {"--optimizer.type=schedule_free"};
  const Ended one = train_six(run, "one", 1, overrides);
  const Ended three = train_six(run, "three", 3, overrides);
  CHECK(one.metrics["eval/loss"] == three.metrics["eval/loss"]);
  CHECK(one.weights == three.weights);
  const Ended parted = train_six(run, "parted", 3, {overrides[0], "--trainer.shard=parameters"});
  CHECK(parted.checkpoint.params_hash() == one.checkpoint.params_hash());
  CHECK(parted.metrics["eval/loss"] == one.metrics["eval/loss"]);
  CHECK(parted.weights == one.weights);
  CHECK(exported(run, one, false) == one.weights);
  const std::string path = "transformer.ln_f.weight";
  CHECK(one.checkpoint.path_in_use(path) == "optimizer.average." + path);
  std::vector<float> trained(16), used(16);
  one.checkpoint.load_tensor(path, std::as_writable_bytes(std::span(trained)));
  one.checkpoint.load_tensor(one.checkpoint.path_in_use(path),
                             std::as_writable_bytes(std::span(used)));
  CHECK(trained != used);
  CHECK_THAT(failure_of(ErrorKind::kConfig,
                        [&] {
                          run.config("a", "num_train_steps = 1\n", "",
                                     {overrides[0], "--optimizer.ema={decay=0.9}"});
                        }),
             Catch::Contains("would be a mean beside the one that is the model"));
}

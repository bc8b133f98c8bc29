// Batches that grow during a run.
#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

#include "checkpoint/load.h"
#include "data/rows/batch_sizes.h"
#include "support/fault.h"
#include "support/tiny_run.h"
#include "train/run.h"

using namespace levanter;
using namespace levanter::testing;
using Catch::Contains;

namespace {

const std::string kGrowing = "--trainer.batch_schedule=[{until=2,size=4},{until=5,size=8}]";
/// Of two ranks the first has a microbatch more than the other in the first steps.
const std::string kUneven = "--trainer.batch_schedule=[{until=2,size=6},{until=5,size=10}]";

TrainConfig config_of(const TinyRun& run, const std::string& id, int64_t steps, int64_t ranks,
                      const std::string& schedule, const char* shard = "optimizer") {
  return run.config("a",
                    cat("num_train_steps = ", steps, "\nranks = ", ranks, "\nid = ", quote(id),
                        "\nshard = ", quote(shard), "\ncommunicator = \"threads\"\n"),
                    "",
                    {schedule, "--trainer.gradient_groups=2", "--optimizer.lr_schedule=constant"});
}

std::string trained(const TinyRun& run, const std::string& id, int64_t steps, int64_t ranks,
                    const std::string& schedule = kGrowing, const char* shard = "optimizer") {
  const TrainConfig config = config_of(run, id, steps, ranks, schedule, shard);
  REQUIRE(train::train(config, {}) == train::Outcome::kFinished);
  return read_checkpoint(join_path(config.run_folder(), cat("checkpoints/step-", steps)))
      .params_hash();
}

}  // namespace

TEST_CASE("batches of growing size follow each other without a gap", "[data]") {
  const data::BatchSizes sizes(12, {{2, 4}, {5, 8}});
  int64_t examples = 0;
  for (int64_t step = 0; step < 12; ++step) {
    CHECK(sizes.before(step) == examples);
    CHECK(sizes.filled_by(examples) == step);
    CHECK(sizes.filled_by(examples + sizes.of(step) - 1) == step);
    CHECK(sizes.of(step) == (step < 2 ? 4 : step < 5 ? 8 : 12));
    examples += sizes.of(step);
  }
}

TEST_CASE("a run with growing batches ends with one hash over ranks and restarts", "[train]") {
  const TinyRun run;
  const std::string straight = trained(run, "straight", 7, 1);
  CHECK(trained(run, "ranks", 7, 2) == straight);
  trained(run, "stopped", 3, 2);
  CHECK(trained(run, "stopped", 7, 1) == straight);
  double tokens = 0;
  for (const std::string& line : split(read_file(run.folder / "runs/straight/metrics.jsonl"), '\n'))
    if (line.find("total_tokens") != std::string::npos)
      tokens = nlohmann::json::parse(line)["throughput/total_tokens"];
  CHECK(tokens == 16 * (2 * 4 + 3 * 8 + 2 * 12));
  const std::string plain = trained(run, "plain", 4, 1, "--trainer.batch_schedule=[]");
  CHECK(trained(run, "same", 4, 2, "--trainer.batch_schedule=[{until=2,size=12}]") == plain);
  CHECK(straight != plain);
}

TEST_CASE("ranks with parts of the parameters follow each size of a batch", "[train]") {
  const TinyRun run;
  CHECK(trained(run, "parted", 7, 2, kUneven, "parameters") == trained(run, "one", 7, 1, kUneven));
}

TEST_CASE("a schedule of batches that cannot be cut up is refused", "[train]") {
  const TinyRun run;
  const auto refusal = [&](const std::string& stages) {
    return failure_of(ErrorKind::kConfig,
                      [&] { config_of(run, "a", 7, 1, "--trainer.batch_schedule=" + stages); });
  };
  CHECK_THAT(refusal("[{until=2,size=5}]"),
             Contains("trainer.batch_schedule[0].size = 5 is no multiple of the microbatch, 2") &&
                 Contains("multiples of 2 from 4 to 12"));
  CHECK_THAT(refusal("[{until=2,size=2}]"),
             Contains("size = 2 has no microbatch of 2 for each of the 2 gradient groups"));
  CHECK_THAT(refusal("[{until=2,size=24}]"),
             Contains("size = 24 is more than trainer.train_batch_size = 12") &&
                 Contains("multiples of 2 from 4 to 12"));
  CHECK_THAT(refusal("[{until=5,size=4},{until=5,size=8}]"), Contains("does not come after 5"));
  CHECK_THAT(refusal("[{until=5}]"), Contains("size"));
}

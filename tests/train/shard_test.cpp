// Runs whose ranks have a part of the parameters: the bits, checkpoints and folders of one rank.
#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>
#include <sstream>

#include "checkpoint/load.h"
#include "support/fault.h"
#include "support/forwarding_backend.h"
#include "support/tiny_run.h"
#include "train/run.h"
#include "train/setup.h"

using namespace levanter;
using namespace levanter::testing;
using nlohmann::json;

namespace {

std::string sharded(int64_t ranks, const char* shard) {
  return cat("num_train_steps = 18\nthreads = 1\ncommunicator = \"threads\"\nranks = ", ranks,
             "\nshard = \"", shard, "\"\ncheckpointer = { keep = [{ every = 6 }] }\n");
}

/// The run `id`, with Hugging Face folders of steps 9 and 18; its hash and its last evaluation.
std::pair<std::string, double> trained(const TinyRun& run, const std::string& id,
                                       const std::string& keys) {
  const TrainConfig config =
      run.config(id, keys, "embed_pdrop = 0.1\n",
                 {cat("--hf_save_path=", run.folder / "hf"), "--hf_save_steps=9"});
  REQUIRE(train::train(config, {}) == train::Outcome::kFinished);
  const json summary = json::parse(read_file(run.folder / cat("runs/", id, "/summary.json")));
  return {summary["params_hash"], summary["eval/loss"]};
}

std::string weights(const TinyRun& run, const std::string& id, int64_t step) {
  return read_file(run.folder / cat("hf/", id, "/step-", step, "/model.safetensors"));
}

}  // namespace

TEST_CASE("a run goes on from any shard and number of ranks to any other", "[train]") {
  const TinyRun run;
  const auto expected = trained(run, "one", sharded(1, "none"));
  CHECK(trained(run, "moved", sharded(3, "parameters")) == expected);
  const std::string checkpoints = run.folder / "runs/moved/checkpoints";
  CHECK(path_exists(checkpoints + "/step-6/model-00003-of-00003.safetensors"));
  for (const int64_t step : {9, 18})
    CHECK(weights(run, "moved", step) == weights(run, "one", step));
  struct Move {
    int64_t from, ranks;
    const char* shard;
  };
  for (const Move& move :
       {Move{6, 2, "optimizer"}, Move{12, 1, "none"}, Move{6, 5, "parameters"},
        Move{12, 2, "parameters"}, Move{6, 3, "optimizer"}, Move{12, 4, "optimizer"},
        Move{6, 1, "optimizer"}, Move{12, 3, "none"}}) {
    INFO("from step " << move.from << " on " << move.ranks << " ranks, shard " << move.shard);
    for (const int64_t step : {6, 12, 18})
      if (step > move.from) remove_tree(cat(checkpoints, "/step-", step));
    remove_tree(run.folder / "runs/moved/summary.json");
    CHECK(trained(run, "moved", sharded(move.ranks, move.shard)) == expected);
    CHECK(verify_checkpoint(run.folder / "runs/moved").ok);
  }
}

TEST_CASE("each rank saves the rows that it updates, whatever the optimizer", "[train]") {
  const TinyRun run;
  for (const char* optimizer : {"adam", "adopt", "schedule_free", "sophia", "muon", "adafactor"}) {
    INFO(optimizer);
    const auto saved = [&](int64_t ranks) {
      const std::string id = cat(optimizer, ranks);
      std::vector<std::string> keys = {cat("--optimizer.type=", optimizer),
                                       "--trainer.num_train_steps=4"};
      if (std::string_view(optimizer) == "adam") keys.push_back("--optimizer.ema={decay=0.9}");
      if (std::string_view(optimizer) == "muon")
        keys.push_back("--optimizer.groups=[{match='mlp', type='adam'}]");
      if (std::string_view(optimizer) == "sophia") keys.push_back("--optimizer.update_interval=2");
      REQUIRE(train::train(run.config(id, sharded(ranks, "optimizer"), "", keys), {}) ==
              train::Outcome::kFinished);
      return read_checkpoint(run.folder / cat("runs/", id, "/checkpoints/step-4"));
    };
    const Checkpoint one = saved(1), cut = saved(3);
    bool several = false;
    for (const auto& [path, record] : one.manifest().tensors) {
      INFO(path);
      several = several || cut.tensor(path).slices.size() > 1;
      std::vector<std::byte> expected(static_cast<size_t>(record.bytes())), got(expected.size());
      one.load_tensor(path, expected);
      cut.load_tensor(path, got);
      CHECK(got == expected);
    }
    CHECK(several == (std::string_view(optimizer) != "adafactor"));
  }
}

TEST_CASE("the last rank tells the loss though it updates nothing", "[train]") {
  const TinyRun run;
  const auto losses = [&](const std::string& id, int64_t ranks, const char* shard) {
    // One parameter, which is not cut, is larger than all others together.
    const TrainConfig config = run.config(id, sharded(ranks, shard), "vocab_size = 700\n",
                                          {"--optimizer.groups=[{match='wte', type='adafactor'}]"});
    REQUIRE(train::train(config, {}) == train::Outcome::kFinished);
    std::vector<double> all;
    std::istringstream lines(read_file(run.folder / cat("runs/", id, "/metrics.jsonl")));
    for (std::string line; std::getline(lines, line);) {
      const json metrics = json::parse(line);
      if (metrics.contains("train/loss")) all.push_back(metrics["train/loss"]);
    }
    return all;
  };
  const std::vector<double> expected = losses("one", 1, "none");
  CHECK(expected.size() == 18);
  CHECK(expected.back() > 0);
  CHECK(losses("optimizer", 6, "optimizer") == expected);
  CHECK(losses("parameters", 6, "parameters") == expected);
}

TEST_CASE("parameters are gathered for labels that the model draws too", "[train]") {
  const TinyRun run;
  const auto hash = [&](const char* id, int64_t ranks, const char* shard) {
    const TrainConfig config =
        run.config(id, sharded(ranks, shard), "",
                   {"--optimizer.type=sophia", "--optimizer.update_interval=2",
                    "--trainer.num_train_steps=5"});
    REQUIRE(train::train(config, {}) == train::Outcome::kFinished);
    return read_checkpoint(run.folder / cat("runs/", id, "/checkpoints/step-5")).params_hash();
  };
  CHECK(hash("parted", 4, "parameters") == hash("one", 1, "none"));
}

TEST_CASE("a device with memory of its own does not gather parameters", "[train]") {
  class Apart final : public ForwardingBackend {
   public:
    bool is_host() const override { return false; }
  };
  const TinyRun run;
  const Apart apart;
  const TrainConfig config = run.config("a", sharded(2, "parameters"));
  const std::string error =
      failure_of(ErrorKind::kConfig, [&] { train::require_shard(config, apart); });
  CHECK_THAT(error, Catch::Contains("trainer.shard = \"parameters\" gathers parameters"));
  CHECK_NOTHROW(train::require_shard(run.config("b", sharded(1, "parameters")), apart));
  CHECK_NOTHROW(train::require_shard(run.config("c", sharded(2, "optimizer")), apart));
}

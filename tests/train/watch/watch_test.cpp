// trainer.watch: the numbers of parameters and gradients, whoever has them.
#include <catch2/catch.hpp>

#include <cmath>
#include <map>
#include <nlohmann/json.hpp>

#include "checkpoint/load.h"
#include "support/fault.h"
#include "support/tiny_run.h"
#include "train/run.h"

using namespace levanter;
using namespace levanter::testing;
using nlohmann::json;

namespace {

constexpr const char* kSteps = "num_train_steps = 6\nthreads = 1\n";
constexpr const char* kWatch =
    "watch = { every = 3, what = [\"grad_norm\", \"param_norm\", \"update_ratio\", \"histogram\", "
    "\"attention\"] }\n";
/// Norms are of f32, added up in another order here.
constexpr double kF32Sums = 1e-5;

std::string trained(const TinyRun& run, const std::string& id, const std::string& keys) {
  const TrainConfig config = run.config(id, keys, "embed_pdrop = 0.1\n");
  REQUIRE(train::train(config, {}) == train::Outcome::kFinished);
  return json::parse(read_file(run.folder / cat("runs/", id, "/summary.json")))["params_hash"];
}

json line_of(const TinyRun& run, const std::string& id, int64_t step) {
  const auto lines = split(read_file(run.folder / cat("runs/", id, "/metrics.jsonl")), '\n');
  return json::parse(lines.at(static_cast<size_t>(step) - 1));
}

/// What is watched in the line of a step.
std::map<std::string, double> watched(const TinyRun& run, const std::string& id, int64_t step) {
  std::map<std::string, double> values;
  const json line = line_of(run, id, step);
  for (const auto& [name, value] : line.items())
    if (name.starts_with("watch/")) values[name] = value;
  return values;
}

/// The parameters of a checkpoint in double precision.
std::map<std::string, std::vector<double>> parameters(const TinyRun& run, const std::string& id,
                                                      int64_t step) {
  const Checkpoint checkpoint =
      read_checkpoint(run.folder / cat("runs/", id, "/checkpoints/step-", step));
  std::map<std::string, std::vector<double>> all;
  for (const auto& [path, record] : checkpoint.manifest().tensors) {
    if (!record.in_model()) continue;
    std::vector<float> values(static_cast<size_t>(record.elements()));
    checkpoint.load_tensor(path, std::as_writable_bytes(std::span(values)));
    all[path].assign(values.begin(), values.end());
  }
  return all;
}

double norm(const std::vector<double>& values) {
  double sum = 0;
  for (const double x : values) sum += x * x;
  return std::sqrt(sum);
}

}  // namespace

TEST_CASE("watching changes no bit, and what it sees is the same on any ranks and shards",
          "[train]") {
  const TinyRun run;
  const std::string plain = trained(run, "plain", kSteps);
  CHECK(trained(run, "watched", cat(kSteps, kWatch)) == plain);
  CHECK(watched(run, "watched", 2).empty());
  const auto expected = watched(run, "watched", 3);
  CHECK(expected.size() > 50);
  CHECK(expected.contains("watch/attention_entropy/transformer.h.1.attn"));
  CHECK(expected.contains("watch/attention_max_logit/transformer.h.1.attn"));
  CHECK(trained(run, "threads", cat("num_train_steps = 6\nthreads = 3\n", kWatch)) == plain);
  CHECK(watched(run, "threads", 3) == expected);
  for (const int64_t ranks : {2, 3})
    for (const char* shard : {"none", "optimizer", "parameters"}) {
      const std::string id = cat(shard, ranks);
      INFO(id);
      CHECK(trained(run, id,
                    cat(kSteps, kWatch, "communicator = \"threads\"\nranks = ", ranks,
                        "\nshard = \"", shard, "\"\n")) == plain);
      CHECK(watched(run, id, 3) == expected);
      CHECK(watched(run, id, 6) == watched(run, "watched", 6));
    }
}

TEST_CASE("watched norms are those of gradients, parameters and updates", "[train]") {
  const TinyRun run;
  trained(run, "a", cat(kSteps, kWatch, "checkpointer = { keep = [{ every = 1 }] }\n"));
  const auto before = parameters(run, "a", 2), after = parameters(run, "a", 3);
  const auto values = watched(run, "a", 3);
  double squares = 0;
  for (const auto& [path, now] : after) {
    INFO(path);
    CHECK(values.at("watch/param_norm/" + path) == Approx(norm(now)).epsilon(kF32Sums));
    std::vector<double> change = now;
    for (size_t i = 0; i < change.size(); ++i) change[i] -= before.at(path)[i];
    // An update is a small difference of f32 numbers.
    CHECK(values.at("watch/update_ratio/" + path) ==
          Approx(norm(change) / norm(now)).epsilon(kF32Sums));
    squares += std::pow(values.at("watch/grad_norm/" + path), 2);
  }
  CHECK(std::sqrt(squares) ==
        Approx(line_of(run, "a", 3)["grad/norm/total"].get<double>()).epsilon(kF32Sums));
}

TEST_CASE("a pattern says which parameters are watched", "[train]") {
  const TinyRun run;
  trained(run, "a",
          cat(kSteps, "watch = { every = 2, what = [\"grad_norm\"], match = \"ln_f\" }\n"));
  const auto values = watched(run, "a", 2);
  REQUIRE(values.size() == 2);
  CHECK(values.contains("watch/grad_norm/transformer.ln_f.weight"));
  const TrainConfig config =
      run.config("b", cat(kSteps, "watch = { every = 2, match = \"nothing\" }\n"));
  CHECK_THAT(failure_of(ErrorKind::kConfig, [&] { train::train(config, {}); }),
             Catch::Contains("trainer.watch.match = \"nothing\" is found in no parameter"));
  trained(run, "c",
          cat(kSteps, "watch = { every = 2, what = [\"attention\"], match = \"h.1\" }\n"));
  CHECK(watched(run, "c", 2).size() == 2);
  const TrainConfig weight = run.config(
      "d",
      cat(kSteps, "watch = { every = 2, what = [\"attention\"], match = \"c_attn.weight\" }\n"));
  CHECK_THAT(failure_of(ErrorKind::kConfig, [&] { train::train(weight, {}); }),
             Catch::Contains("is found in no module of attention") &&
                 Catch::Contains("transformer.h.0.attn"));
  const TrainConfig both = run.config(
      "e", cat(kSteps,
               "watch = { every = 2, what = [\"grad_norm\", \"attention\"], match = \"none\" }\n"));
  CHECK_THAT(
      failure_of(ErrorKind::kConfig, [&] { train::train(both, {}); }),
      Catch::Contains("is found in no parameter that is trained and no module of attention\n") &&
          Catch::Contains("\n  allowed  transformer.wte.weight, ") &&
          Catch::EndsWith(", ..., transformer.h.0.attn, transformer.h.1.attn"));
}

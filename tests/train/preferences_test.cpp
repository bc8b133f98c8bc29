// Runs that learn from pairs of answers: one hash however they are shared out and stopped, the
// reference's log-probabilities computed once, and what such a config may not say.
#include <catch2/catch.hpp>

#include <cmath>
#include <nlohmann/json.hpp>

#include "checkpoint/load.h"
#include "support/fault.h"
#include "support/program.h"
#include "support/tiny_run.h"
#include "train/run.h"

using namespace levanter;
using namespace levanter::testing;
using Catch::Contains;
using nlohmann::json;

namespace {

/// The first loss of a model that is its own reference is log 2, but for roundings of f32 between
/// two ways to compute the same.
constexpr double kOwnReferenceTolerance = 1e-5;

std::string made_up_pairs(int count, uint32_t seed) {
  static constexpr const char* kWords[] = {"cat", "dog", "owl", "fox"};
  std::string text;
  const Key key = key_from_seed(seed);
  for (int i = 0; i < count; ++i) {
    const auto word = [&](int at) {
      return kWords[random_below(key, static_cast<uint64_t>(3 * i + at), 4)];
    };
    text += cat("{\"prompt\": \"the ", word(0), "\", \"chosen\": \" sees a ", word(1),
                "\", \"rejected\": \" a ", word(2), " no\"}\n");
  }
  return text;
}

/// A folder with pairs, a text, configs and the runs' folders.
struct PairRun {
  PairRun() {
    write_file_atomic(folder / "pairs.jsonl", made_up_pairs(60, 2));
    write_file_atomic(folder / "text.txt", made_up_text(200, 5));
  }

  std::string file(const std::string& id, const std::string& objective,
                   const std::string& trainer) const {
    const std::string path = folder / cat(id, ".toml");
    write_file_atomic(
        path, cat("objective = ", objective,
                  "\n[model]\ntype = \"gpt2\"\nmax_seq_len = 64\nhidden_dim = 16\nnum_layers = 2\n"
                  "num_heads = 2\n[data]\ntokenizer = { type = \"bytes\" }\n"
                  "[data.components.pairs]\ntrain = [\"pairs.jsonl\"]\nvalidation_fraction = 0.2\n"
                  "format = { type = \"preference\", learn = \"pair\" }\npack = \"best_fit\"\n"
                  "[data.components.plain]\nvalidation = [\"text.txt\"]\n"
                  "[optimizer]\nlearning_rate = 1e-2\nlr_schedule = \"constant\"\nwarmup = 0\n"
                  "[trainer]\nlog_dir = \"runs\"\ntracker = [\"jsonl\"]\ntrain_batch_size = 12\n"
                  "microbatch_size = 2\ngradient_groups = 6\nsteps_per_eval = 4\n",
                  trainer));
    return path;
  }
  TrainConfig config(const std::string& id, const std::string& objective,
                     const std::string& trainer,
                     const std::vector<std::string>& overrides = {}) const {
    return load_train_config(file(id, objective, trainer), overrides);
  }
  /// The hash that a run of so many steps ends with.
  std::string trained(const std::string& id, const std::string& objective, int64_t steps,
                      const std::string& trainer = "",
                      const std::vector<std::string>& overrides = {}) const {
    const TrainConfig c =
        config(id, objective, cat("num_train_steps = ", steps, "\n", trainer), overrides);
    REQUIRE(train::train(c, {}) == train::Outcome::kFinished);
    return read_checkpoint(join_path(c.run_folder(), cat("checkpoints/step-", steps)))
        .params_hash();
  }
  /// The values of a metric of a run, step by step.
  std::vector<double> metric(const std::string& id, const std::string& name) const {
    std::vector<double> values;
    for (const std::string& line :
         split(read_file(folder / cat("runs/", id, "/metrics.jsonl")), '\n')) {
      if (line.empty()) continue;
      const json object = json::parse(line);
      if (object.contains(name)) values.push_back(object[name]);
    }
    return values;
  }
  /// The files of reference log-probabilities below a folder.
  std::vector<std::string> references(const std::string& below) const {
    std::vector<std::string> files;
    const std::string of_pairs = folder / below;
    if (!path_exists(of_pairs)) return files;
    for (const std::string& name : list_directory(of_pairs))
      files.push_back(join_path(of_pairs, name));
    return files;
  }

  TemporaryFolder folder;
};

const std::string kDpo = "{ type = \"dpo\", beta = 0.5 }";
const std::string kThreads = "communicator = \"threads\"\n";

}  // namespace

TEST_CASE("a run on pairs ends with one hash over ranks, threads and restarts", "[train]") {
  const PairRun run;
  for (const std::string& objective :
       {kDpo, std::string("\"simpo\""), std::string("\"orpo\""), std::string("\"kto\"")}) {
    INFO(objective);
    const std::string kind = objective.substr(objective.find('"') + 1, 3);
    const auto id = [&](const char* what) { return cat(kind, what); };
    const std::string one = run.trained(id("one"), objective, 6, "threads = 1\n");
    CHECK(run.trained(id("threads"), objective, 6, "threads = 2\n") == one);
    CHECK(run.trained(id("two"), objective, 6, kThreads + "ranks = 2\n") == one);
    CHECK(run.trained(id("three"), objective, 6,
                      kThreads + "ranks = 3\nshard = \"parameters\"\n") == one);
    run.trained(id("stopped"), objective, 3);
    CHECK(run.trained(id("stopped"), objective, 6, kThreads + "ranks = 2\n") == one);
    CHECK(run.trained(id("eager"), objective, 1, "schedule_seed = 5\n") ==
          run.trained(id("plain"), objective, 1));
  }
}

TEST_CASE("dpo begins at log 2 and learns which answer is chosen", "[train]") {
  const PairRun run;
  run.trained("a", kDpo, 24);
  const std::vector<double> losses = run.metric("a", "train/loss");
  CHECK(std::abs(losses.front() - std::log(2)) < kOwnReferenceTolerance);
  CHECK(losses.back() < 0.2);
  CHECK(std::abs(run.metric("a", "train/rewards/margins").front()) < kOwnReferenceTolerance);
  CHECK(run.metric("a", "train/rewards/accuracies").back() == 1);
  const double chosen = run.metric("a", "train/rewards/chosen").back();
  const double rejected = run.metric("a", "train/rewards/rejected").back();
  CHECK(std::abs(run.metric("a", "train/rewards/margins").back() - (chosen - rejected)) < 1e-4);
  CHECK(run.metric("a", "train/logps/chosen").front() < -10);
}

TEST_CASE("what is filled and computed before the first step tells how far it is", "[train]") {
  const PairRun run;
  std::vector<std::pair<std::string, double>> heard;  // each kind once, with its last fraction
  train::RunOptions options;
  options.progress = [&](const Progress& progress) {
    if (heard.empty() || heard.back().first != progress.what) heard.emplace_back(progress.what, 0);
    CHECK(progress.fraction() > 0);
    CHECK(progress.fraction() <= 1);
    heard.back().second = progress.fraction();
  };
  REQUIRE(train::train(run.config("a", kDpo, "num_train_steps = 2\n"), options) ==
          train::Outcome::kFinished);
  using Heard = std::vector<std::pair<std::string, double>>;
  CHECK(heard == Heard{{"initialising", 1}, {"computing references", 1}});
  heard.clear();
  REQUIRE(train::train(run.config("a", kDpo, "num_train_steps = 4\n"), options) ==
          train::Outcome::kFinished);
  CHECK(heard == Heard{{"initialising", 1}, {"reading the checkpoint", 1}});
  heard.clear();
  REQUIRE(train::train(run.config("adapter", "\"simpo\"", "num_train_steps = 1\n",
                                  {"--adapter={type = \"lora\", r = 2}"}),
                       options) == train::Outcome::kFinished);
  CHECK(heard == Heard{{"initialising", 1}, {"reading the model under the adapter", 1}});
}

TEST_CASE("pairs and plain text are validated in one run", "[train]") {
  const PairRun run;
  run.trained("a", kDpo, 8);
  CHECK(run.metric("a", "eval/loss").size() == 2);
  CHECK(run.metric("a", "eval/loss") == run.metric("a", "eval/pairs/loss"));
  CHECK(run.metric("a", "eval/rewards/margins") == run.metric("a", "eval/pairs/rewards/margins"));
  CHECK(run.metric("a", "eval/rewards/accuracies").back() > 0.8);
  CHECK(run.metric("a", "eval/logps/rejected").back() < -5);
  CHECK(run.metric("a", "eval/plain/loss").back() > 1);
  CHECK(run.metric("a", "eval/plain/bpb").size() == 2);
  CHECK(run.metric("a", "eval/bpb").empty());  // of texts, which are not what is learned
}

TEST_CASE("the reference's log-probabilities are computed once for all runs", "[train]") {
  const PairRun run;
  const std::vector<std::string> cached = {cat("--data.cache_dir=", run.folder / "cache")};
  const std::string first = run.trained("first", kDpo, 5, "", cached);
  const std::vector<std::string> files = run.references("cache/pairs/references");
  REQUIRE(files.size() == 2);  // to train and to validate on
  CHECK(run.references("runs/first/references/pairs").empty());
  // A file that is there is taken as it is.
  const std::string kept = read_file(files[0]);
  CHECK(run.trained("second", kDpo, 5, "", cached) == first);
  CHECK(run.references("cache/pairs/references") == files);
  // One that is damaged is computed again.
  flip_bit(files[0], kept.size() - 3, 4);
  CHECK(run.trained("third", kDpo, 5, "", cached) == first);
  CHECK(read_file(files[0]) == kept);
  // Another model has others.
  run.trained("other", kDpo, 1, "seed = 3\n", cached);
  CHECK(run.references("cache/pairs/references").size() == 4);
  // So has one that computes something else with the same parameters.
  std::vector<std::string> heads = cached;
  heads.push_back("--model.num_heads=4");
  run.trained("heads", kDpo, 1, "", heads);
  CHECK(run.references("cache/pairs/references").size() == 6);
  // What changes no bit of it does not: dropped out is in training alone.
  std::vector<std::string> recomputed = cached;
  recomputed.push_back("--model.gradient_checkpointing=full");
  CHECK(run.trained("recomputed", kDpo, 5, "", recomputed) == first);
  recomputed.push_back("--model.resid_pdrop=0.1");
  run.trained("dropping", kDpo, 1, "", recomputed);
  CHECK(run.references("cache/pairs/references").size() == 6);
  // Without a cache they are the run's own.
  CHECK(run.trained("alone", kDpo, 5) == first);
  CHECK(run.references("runs/alone/references/pairs").size() == 2);
}

TEST_CASE("a run goes on with the reference that it was begun with", "[train]") {
  const PairRun run;
  const std::string straight = run.trained("straight", kDpo, 6);
  run.trained("torn", kDpo, 3);
  remove_tree(run.folder / "runs/torn/references");
  CHECK(run.trained("torn", kDpo, 6, kThreads + "ranks = 2\n") == straight);
  CHECK(run.references("runs/torn/references/pairs").size() == 2);
  // Begun with a model that has gone since, and which start_from does not name any more.
  run.trained("base", "\"simpo\"", 2);
  const std::string from = cat("--start_from={kind=\"checkpoint\", what=\"model\", path=\"",
                               run.folder / "runs/base", "\"}");
  run.trained("lost", kDpo, 3, "", {from});
  remove_tree(run.folder / "runs/lost/references");
  const TrainConfig config = run.config("lost", kDpo, "num_train_steps = 6\n");
  CHECK_THAT(failure_of(ErrorKind::kCheckpoint, [&] { train::train(config, {}); }),
             Contains("the run measures preferences from a model of hash") &&
                 Contains("hint     start_from has to name what the run was begun with"));
  CHECK(!run.trained("lost", kDpo, 6, "", {from}).empty());
}

TEST_CASE("a run of an adapter goes on with the reference that it was begun with", "[train]") {
  const PairRun run;
  const std::string lora = "--adapter={type=\"lora\", r=2, init=\"gaussian\"}";
  run.trained("base", "\"simpo\"", 2, "", {cat("--hf_save_path=", run.folder / "hf")});
  const std::string hf =
      cat("--start_from={kind=\"hf\", path=\"", run.folder / "hf/base/step-2", "\"}");
  const std::string checkpoint =
      cat("--start_from={kind=\"checkpoint\", path=\"", run.folder / "runs/base", "\"}");
  run.trained("peft", kDpo, 3, "", {lora, hf, cat("--hf_save_path=", run.folder / "peft")});
  const std::string path = cat("--adapter.path=", run.folder / "peft/peft/step-3");
  const std::pair<const char*, std::vector<std::string>> kinds[] = {
      {"drawn", {lora}},
      {"hf", {lora, hf}},
      {"checkpoint", {lora, checkpoint}},
      {"path", {lora, hf, path}}};
  for (const auto& [kind, overrides] : kinds) {
    INFO(kind);
    const std::string straight = run.trained(cat("straight_", kind), kDpo, 6, "", overrides);
    const std::string torn = cat("torn_", kind);
    run.trained(torn, kDpo, 3, "", overrides);
    remove_tree(run.folder / cat("runs/", torn, "/references"));
    CHECK(run.trained(torn, kDpo, 6, kThreads + "ranks = 2\n", overrides) == straight);
    CHECK(run.references(cat("runs/", torn, "/references/pairs")).size() == 2);
  }
}

TEST_CASE("an objective and data that do not fit each other are refused", "[train]") {
  const PairRun run;
  const auto refusal = [&](const std::string& objective,
                           const std::vector<std::string>& overrides) {
    return failure_of(ErrorKind::kConfig,
                      [&] { run.config("bad", objective, "num_train_steps = 1\n", overrides); });
  };
  CHECK_THAT(refusal(kDpo, {"--data.components.pairs.format.learn=chosen"}),
             Contains("objective.type = \"dpo\" learns from pairs of answers, and "
                      "data.components.pairs.format.type = \"preference\" gives one answer at a "
                      "time") &&
                 Contains("allowed  { type = \"preference\", learn = \"pair\" }"));
  CHECK_THAT(refusal("\"kto\"", {cat("--data.components.plain.train=", run.folder / "text.txt")}),
             Contains("data.components.plain.format.type = \"text\" gives texts"));
  CHECK_THAT(refusal("\"lm\"", {}),
             Contains("data.components.pairs.format.learn = \"pair\" gives pairs of answers, and "
                      "objective.type = \"lm\" learns from texts") &&
                 Contains("allowed  \"chosen\", \"rejected\", \"both\""));
  CHECK_THAT(refusal(kDpo, {"--data.components.pairs.pack=no"}),
             Contains("data.components.pairs.pack = \"no\" cuts texts into windows, and pairs stay "
                      "whole") &&
                 Contains("allowed  \"greedy\", \"best_fit\", \"alone\""));
  CHECK_THAT(refusal(kDpo, {"--data.block_cross_document_attention=false"}),
             Contains("lets an answer see the other one"));
  CHECK_THAT(refusal(kDpo, {"--z_loss_weight=1e-4"}),
             Contains("z_loss_weight is part of the loss"));
  CHECK_THAT(refusal("{ type = \"dpo\", loss = \"ipo\", label_smoothing = 0.1 }", {}),
             Contains("objective.label_smoothing is not read with objective.loss = \"ipo\""));
  CHECK_THAT(refusal("\"dop\"", {}), Contains("dpo"));
  const TrainConfig sophia =
      run.config("sophia", kDpo, "num_train_steps = 1\n", {"--optimizer.type=sophia"});
  CHECK_THAT(
      failure_of(ErrorKind::kConfig, [&] { train::train(sophia, {}); }),
      Contains("labels that the model draws, and objective.type = \"dpo\" has another loss"));
}

TEST_CASE("a pair that is too long is refused, dropped or cut as the config says", "[train]") {
  const PairRun run;
  write_file_atomic(run.folder / "pairs.jsonl",
                    made_up_pairs(30, 2) + "{\"prompt\": \"the end\", \"chosen\": \"" +
                        std::string(70, 'x') + "\", \"rejected\": \"no\"}\n" +
                        made_up_pairs(30, 4));
  const TrainConfig config = run.config("long", kDpo, "num_train_steps = 2\n");
  CHECK_THAT(
      failure_of(ErrorKind::kData, [&] { train::train(config, {}); }),
      Contains("a pair to train on has more tokens than a row of 66 (the sequence length and "
               "one for each answer); it has 86, both answers with their prompts") &&
          Contains("at       ") && Contains("pairs.jsonl:31") &&
          Contains("data.components.pairs.too_long"));
  const auto summary = [&](const std::string& policy) {
    run.trained(policy, kDpo, 2, "", {"--data.components.pairs.too_long=" + policy});
    return json::parse(read_file(run.folder / cat("runs/", policy, "/summary.json")));
  };
  CHECK(summary("drop")["dataset/pairs/dropped_documents"] == 2);
  CHECK(summary("keep_head")["dataset/pairs/cut_documents"] == 1);
  CHECK(summary("keep_tail")["dataset/pairs/cut_documents"] == 1);
}

TEST_CASE("where pairs give nothing to learn or to validate with, the hint is one that helps",
          "[train]") {
  const PairRun run;
  const auto fault = [&](const std::vector<std::string>& overrides) {
    const TrainConfig config = run.config("bad", kDpo, "num_train_steps = 1\n", overrides);
    return failure_of(ErrorKind::kData, [&] { train::train(config, {}); });
  };
  CHECK_THAT(fault({"--data.components.pairs.validation_fraction=0.001"}),
             Contains("component \"pairs\" has no pair to validate with") &&
                 Contains("raise data.components.pairs.validation_fraction"));
  CHECK_THAT(fault({"--model.max_seq_len=1", "--data.components.pairs.too_long=keep_tail"}),
             Contains("raise model.max_seq_len; levanter cache inspect"));
  CHECK_THAT(fault({"--model.max_seq_len=1", "--data.components.pairs.too_long=keep_head"}),
             Contains("raise model.max_seq_len, or set too_long = \"keep_tail\"; levanter"));
}

TEST_CASE("levanter eval measures pairs as validation in training does", "[train]") {
  const PairRun run;
  const auto scored = [&](const std::string& id) {
    const Ended ended = run_program(
        {"eval", "--json", "--checkpoint", join_path(run.folder.path(), cat("runs/", id))});
    INFO(ended.err);
    REQUIRE(ended.code == 0);
    return json::parse(ended.out);
  };
  run.trained("simpo", "\"simpo\"", 4);
  const json simpo = scored("simpo");
  for (const char* name : {"eval/loss", "eval/rewards/accuracies", "eval/rewards/margins",
                           "eval/logps/chosen", "eval/pairs/logps/rejected", "eval/plain/loss"}) {
    INFO(name);
    CHECK(simpo.at(name) == run.metric("simpo", name).back());
  }
  run.trained("dpo", "\"dpo\"", 4);
  const json dpo = scored("dpo");
  for (const char* name : {"eval/logps/chosen", "eval/logps/rejected"})
    CHECK(dpo.at(name) == run.metric("dpo", name).back());
  CHECK(dpo.at("eval/logps/margins").get<double>() ==
        Approx(dpo.at("eval/logps/chosen").get<double>() -
               dpo.at("eval/logps/rejected").get<double>()));
  const double accuracy = dpo.at("eval/logps/accuracies");
  CHECK(accuracy >= 0);
  CHECK(accuracy <= 1);
  CHECK_FALSE(dpo.contains("eval/rewards/chosen"));
  CHECK_FALSE(dpo.contains("eval/loss"));
}

// trainer.sample: what the model in training writes, against what its checkpoint writes.
#include <catch2/catch.hpp>

#include <nlohmann/json.hpp>

#include <signal.h>
#include <time.h>

#include "checkpoint/folder.h"
#include "checkpoint/load.h"
#include "commands/loaded_model.h"
#include "infer/generation.h"
#include "support/fault.h"
#include "support/program.h"
#include "support/tiny_run.h"
#include "text/growing_text.h"
#include "train/run.h"
#include "train/watch/samples.h"

using namespace levanter;
using namespace levanter::testing;
using nlohmann::json;

namespace {

constexpr const char* kSample =
    "num_train_steps = 6\nthreads = 1\ncheckpointer = { keep = [{ every = 3 }] }\n"
    "sample = { every = 3, prompts = [\"the \", \"\", \"a dog\"], max_new_tokens = 20, seed = 5 "
    "}\n";

constexpr const char* kKeepTwo = "checkpointer = { keep = [{ every = 4 }] }\n";

std::string trained(const TinyRun& run, const std::string& id, const std::string& keys,
                    const std::vector<std::string>& overrides = {}) {
  const TrainConfig config = run.config(id, keys, "", overrides);
  REQUIRE(train::train(config, {}) == train::Outcome::kFinished);
  return json::parse(read_file(run.folder / cat("runs/", id, "/summary.json")))["params_hash"];
}

std::string samples(const TinyRun& run, const std::string& id) {
  return read_file(run.folder / cat("runs/", id, "/samples.jsonl"));
}

/// What the model of a checkpoint writes after a prompt, the text of that number.
std::string written(const std::string& checkpoint, const std::string& prompt, uint32_t number) {
  commands::LoadedModel m = commands::load_model(checkpoint, "", {}, {.rows = 1});
  std::vector<int32_t> ids = m.tokenizer->encode({prompt, "prompt"});
  if (ids.empty()) ids = {0};
  infer::GenerateOptions options;
  options.max_new_tokens = 20;
  options.stop_ids = m.tokenizer->end_ids();
  options.vocab_size = m.tokenizer->vocab_size();
  std::vector<infer::Continuation> texts = {{ids, fold_in(key_from_seed(5), number)}};
  infer::generate(*m.model, texts, options);
  text::GrowingText text(*m.tokenizer, {}, ids.back());
  text.update(texts[0].ids);
  return text.text();
}

}  // namespace

TEST_CASE("samples of a run are what its checkpoints write, on any ranks, and change no bit",
          "[train]") {
  const TinyRun run;
  const std::string plain = trained(run, "plain", "num_train_steps = 6\nthreads = 1\n");
  CHECK(!path_exists(run.folder / "runs/plain/samples.jsonl"));
  CHECK(trained(run, "a", kSample) == plain);
  const std::vector<std::string> lines = split(samples(run, "a"), '\n');
  REQUIRE(lines.size() == 7);  // the last is empty
  const std::vector<std::string> prompts = {"the ", "", "a dog"};
  for (size_t i = 0; i < 6; ++i) {
    INFO(lines[i]);
    const json line = json::parse(lines[i]);
    CHECK(line["step"] == (i < 3 ? 3 : 6));
    CHECK(line["prompt"] == prompts[i % 3]);
    const std::string folder =
        run.folder / cat("runs/a/checkpoints/step-", line["step"].get<int64_t>());
    CHECK(line["text"] == written(folder, prompts[i % 3], static_cast<uint32_t>(i % 3)));
  }
  for (const char* shard : {"none", "optimizer", "parameters"}) {
    INFO(shard);
    CHECK(trained(run, shard,
                  cat(kSample, "communicator = \"threads\"\nranks = 3\nshard = \"", shard,
                      "\"\n")) == plain);
    CHECK(samples(run, shard) == samples(run, "a"));
  }
}

TEST_CASE("samples that a stop has cut short are made up for by the next start", "[train]") {
  const TinyRun run;
  const bool at_the_end = GENERATE(false, true);
  const std::string keys =
      cat("num_train_steps = ", at_the_end ? 4 : 6, "\nthreads = 1\n", at_the_end ? "" : kKeepTwo,
          "sample = { every = 4, prompts = [\"the \", \"\"], seed = 5, max_new_tokens = ");
  const auto start = [&](const std::string& id, const char* tokens) {
    return Program({"train", "--config", run.config_file(id, cat(keys, tokens, " }\n"))},
                   {.environment = {cat("XDG_CACHE_HOME=", run.folder / "cache")}});
  };
  REQUIRE(start("straight", "20").wait().code == 0);
  Program stopped = start("stopped", "1000000");  // which take far longer than the steps
  REQUIRE(wait_for_growth(run.folder / "runs/stopped/metrics.jsonl", 0));
  constexpr timespec kMoment{0, 500'000'000};
  ::nanosleep(&kMoment, nullptr);
  stopped.signal(SIGTERM);
  REQUIRE(stopped.wait().code == 75);
  const std::string checkpoints = run.folder / "runs/stopped/checkpoints";
  REQUIRE(list_checkpoints(checkpoints).back() == 4);
  CHECK(!path_exists(run.folder / "runs/stopped/samples.jsonl"));
  REQUIRE(start("stopped", "20").wait().code == 0);
  CHECK(samples(run, "stopped") == samples(run, "straight"));
  for (const int64_t step : list_checkpoints(checkpoints)) {
    const Checkpoint checkpoint = read_checkpoint(step_folder(checkpoints, step));
    CHECK(json::parse(checkpoint.manifest().extra_json)["sampled_step"] == step);
  }
}

TEST_CASE("weights that are used as averages are what writes samples", "[train]") {
  const TinyRun run;
  const auto hash = [&](const char* id, const char* ranks, const char* sample) {
    return trained(run, id, cat("num_train_steps = 4\nthreads = 1\n", ranks, sample),
                   {"--optimizer.type=schedule_free"});
  };
  constexpr const char* kTwo = "communicator = \"threads\"\nranks = 2\nshard = \"parameters\"\n";
  constexpr const char* kEach =
      "sample = { every = 1, prompts = [\"the\"], max_new_tokens = 20, seed = 5 }\n";
  const std::string plain = hash("plain", "", "");
  CHECK(hash("one", "", kEach) == plain);
  CHECK(hash("two", kTwo, kEach) == plain);
  CHECK(samples(run, "one") == samples(run, "two"));
  const json last = json::parse(split(samples(run, "one"), '\n').at(3));
  CHECK(last["text"] == written(run.folder / "runs/one/checkpoints/step-4", "the", 0));
}

TEST_CASE("a prompt that is no text for the model is refused before the run begins", "[train]") {
  const TinyRun run;
  const TrainConfig config = run.config(
      "a", "num_train_steps = 4\nsample = { every = 1, prompts = [\"the\", \"\u00e9t\u00e9\"] }\n");
  CHECK_THAT(failure_of(ErrorKind::kConfig, [&] { train::train(config, {}); }),
             Catch::Contains("trainer.sample.prompts[1]"));
  CHECK(!path_exists(run.folder / "runs/a/metrics.jsonl"));
}

TEST_CASE("an empty prompt that nothing begins is told", "[train]") {
  const TinyRun run;
  const TrainConfig config =
      run.config("a", "num_train_steps = 4\nsample = { every = 1, prompts = [\"\"] }\n");
  const auto tokenizer = text::load_tokenizer(
      R"({"type":"hf","added":[],"tokenizer":{"added_tokens":[],"decoder":{"type":"Fuse"},
          "model":{"type":"BPE","vocab":{"a":0},"merges":[]}}})",
      "tokenizer.json");
  CHECK_THAT(failure_of(ErrorKind::kConfig,
                        [&] { train::require_prompts(config, *tokenizer, /*vocab_size=*/1); }),
             Catch::Contains("trainer.sample.prompts[0] = \"\"") &&
                 Catch::Contains("\n  allowed  a prompt of one token or more\n") &&
                 Catch::Contains("\n  hint     give the model some text"));
}

TEST_CASE("a run says when trainer.watch or trainer.sample is set without every", "[train]") {
  const SmallRun run;
  const Ended told = run.train({"--trainer.watch.match=ln", "--trainer.sample.seed=1"});
  CHECK(told.code == 0);
  CHECK_THAT(told.err,
             Catch::Contains("trainer.watch.every is not set, so nothing is measured") &&
                 Catch::Contains("trainer.sample.every is not set, so nothing is sampled"));
  const Ended quiet =
      run.train({"--trainer.id=quiet", "--trainer.watch={ every = 10, match = \"ln\" }",
                 "--trainer.sample={ every = 10, seed = 1 }"});
  CHECK(quiet.code == 0);
  CHECK_THAT(quiet.err, !Catch::Contains("every is not set"));
}

// Bundles of batches that were not learned from, and running their steps again.
#include "train/guard/replay.h"

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

#include "checkpoint/load.h"
#include "support/distant_backend.h"
#include "support/fault.h"
#include "support/planted_run.h"
#include "support/program.h"
#include "data/rows/dataset.h"
#include "train/guard/bundle.h"
#include "train/guard/row_origin.h"
#include "train/setup.h"

using namespace levanter;
using namespace levanter::testing;
using nlohmann::json;

namespace {

/// Skips the planted passage, and nothing else.
constexpr const char* kSkipping =
    "on_spike = \"skip\"\nloss_spike = 1.12\nnorm_spike = 50\nwindow = 6\n";

/// The only bundle of a run.
std::string bundle_of(const PlantedRun& run, const std::string& id) {
  const std::string bundles = run.at(id, "bundles");
  REQUIRE(list_directory(bundles).size() == 1);
  return join_path(bundles, list_directory(bundles)[0]);
}

void flip(const std::string& path, size_t from_end) {
  std::string bytes = read_file(path);
  bytes[bytes.size() - from_end] = static_cast<char>(bytes[bytes.size() - from_end] ^ 1);
  write_file_atomic(path, bytes);
}

}  // namespace

TEST_CASE("the bundle of a skipped step runs again to the bit, without the texts", "[train]") {
  const PlantedRun run;
  run.trained(run.guarded("one", kSkipping));
  run.trained(
      run.guarded("three", kSkipping, "communicator = \"threads\"\nranks = 3\nthreads = 1\n"));
  const std::string bundle = bundle_of(run, "one"), of_three = bundle_of(run, "three");
  const train::StepRecord record = train::read_bundle(bundle).record;
  CHECK(train::read_bundle(of_three).record.same_bits(record));
  CHECK(bundle.ends_with(cat("/step-", record.step)));
  remove_tree(run.folder / "text.txt");
  for (const std::vector<std::string>& overrides :
       {std::vector<std::string>{}, {"--trainer.threads=2"}})
    for (const std::string& folder : {bundle, of_three}) {
      const train::Replay replay = train::replay(folder, overrides, {});
      CHECK(replay.same_bits());
      CHECK(replay.now.loss == record.loss);
      CHECK(replay.now.numerics == record.numerics);
      CHECK_FALSE(replay.taken);
      CHECK_THAT(replay.reason, Catch::Contains("more than 1.12 times the median"));
    }

  // The planted passage is what people see.
  std::string texts;
  int64_t rows = 0;
  for (const std::string& line : split(read_file(join_path(bundle, "rows.jsonl")), '\n')) {
    if (line.empty()) continue;
    const json row = json::parse(line);
    CHECK(row["component"] == "made_up");
    CHECK(row["component_row"] == row["example"]);  // not shuffled, the first epoch
    CHECK(row["row"] == rows++);
    for (const std::string text : row["texts"]) texts += text;
  }
  CHECK(rows == 12);
  CHECK_THAT(texts, Catch::Contains("ZQ"));
}

TEST_CASE("a device with memory of its own skips the same steps, and its bundle is the same",
          "[train]") {
  const PlantedRun run;
  const std::string expected = run.trained(run.guarded("near", kSkipping));
  const TrainConfig far = run.guarded("far", kSkipping);
  REQUIRE(train::train(far, {.make_backend = DistantBackend::make}) == train::Outcome::kFinished);
  CHECK(run.hash("far") == expected);
  const std::string bundle = bundle_of(run, "far");
  CHECK(train::read_bundle(bundle).record.same_bits(
      train::read_bundle(bundle_of(run, "near")).record));
  CHECK(train::replay(bundle, {}, {}).same_bits());
  CHECK(train::replay(bundle, {}, {.make_backend = DistantBackend::make}).same_bits());
}

TEST_CASE("the program replays a bundle, and says where the bits differ", "[train]") {
  const PlantedRun run;
  run.trained(run.guarded("one", kSkipping));
  const std::string bundle = bundle_of(run, "one");
  const Ended equal = run_program({"train", "--replay", bundle});
  INFO(equal.err);
  CHECK(equal.code == 0);
  CHECK_THAT(equal.out, Catch::Contains("\nequal\n"));
  CHECK_THAT(equal.out, Catch::Contains("times the median"));
  const Ended differs = run_program({"train", "--replay", bundle, "--trainer.device=reference"});
  CHECK(differs.code == 7);
  CHECK_THAT(differs.out, Catch::Contains("numerics were"));
  CHECK_THAT(differs.out, Catch::Contains("\ndiffers\n"));
  const Ended both = run_program({"train", "--replay", bundle, "--config", "run.toml"});
  CHECK(both.code == 2);
  CHECK(run_program({"train"}).code == 2);
}

TEST_CASE("a NaN leaves a bundle, and its replay with --eager names where it begins", "[train]") {
  const PlantedRun run;
  const TrainConfig config = load_train_config(
      run.file("a", ""),
      std::vector<std::string>{"--optimizer.learning_rate=1e30", "--optimizer.warmup=0"});
  failure_of(ErrorKind::kGuard, [&] { train::train(config, {}); });
  const std::string bundle = bundle_of(run, "a");
  const train::Replay replay = train::replay(bundle, {}, {});
  CHECK(replay.same_bits());
  CHECK(std::isnan(replay.now.loss));
  CHECK_THAT(failure_of(ErrorKind::kGuard, [&] { train::replay(bundle, {}, {.eager = true}); }),
             Catch::Contains("the first NaN comes from"));
}

TEST_CASE("a bundle that is damaged is refused, and the file named", "[train]") {
  const PlantedRun run;
  run.trained(run.guarded("one", kSkipping));
  const std::string bundle = bundle_of(run, "one");
  const std::string state = train::read_bundle(bundle).state;
  const auto refused = [&] {
    return failure_of(ErrorKind::kCheckpoint, [&] { train::replay(bundle, {}, {}); });
  };
  for (const std::string& file :
       {join_path(bundle, "batch.safetensors"), join_path(bundle, "bundle.json"),
        join_path(state, "model.safetensors"), join_path(state, "optimizer.safetensors")}) {
    flip(file, 20);
    const std::string error = refused();
    INFO(error);
    CHECK_THAT(error, Catch::Contains(file_name(file)));
    flip(file, 20);
    CHECK(train::replay(bundle, {}, {}).same_bits());
  }
  remove_tree(join_path(bundle, "bundle.json"));
  CHECK_THAT(refused(), Catch::Contains("is no bundle"));
  CHECK_THAT(refused(), Catch::Contains("hint"));
}

TEST_CASE("the first bundle and the newest are kept", "[train]") {
  const PlantedRun run;
  const std::string often = "on_spike = \"skip\"\nloss_spike = 1.0\nnorm_spike = 1.1\nwindow = 4\n";
  run.trained(run.guarded("all", cat(often, "max_bundles = 100\n")));
  const auto steps = [&](const std::string& id) {
    std::vector<int64_t> out;
    for (const std::string& name : list_directory(run.at(id, "bundles")))
      out.push_back(*step_of(name));
    std::sort(out.begin(), out.end());
    return out;
  };
  const std::vector<int64_t> all = steps("all");
  REQUIRE(all.size() >= 3);
  run.trained(run.guarded("two", cat(often, "max_bundles = 2\n")));
  CHECK(steps("two") == std::vector<int64_t>{all.front(), all.back()});
  run.trained(run.guarded("one", cat(often, "max_bundles = 1\n")));
  CHECK(steps("one") == std::vector<int64_t>{all.front()});
  run.trained(run.guarded("none", cat(often, "max_bundles = 0\n")));
  CHECK_FALSE(path_exists(run.at("none", "bundles")));
}

TEST_CASE("a bundle that cannot be written ends nothing", "[train]") {
  const PlantedRun run;
  const std::string expected = run.trained(run.guarded("good", kSkipping));
  const TrainConfig config = run.guarded("bad", kSkipping);
  make_directories(config.run_folder());
  write_file_atomic(run.at("bad", "bundles"), "a file");
  CHECK(run.trained(config) == expected);
}

TEST_CASE("the rows of a mixture of packs are those of their components", "[train]") {
  const PlantedRun run;
  std::string config = read_file(run.file("mixed", kSkipping));
  for (const char* name : {"a", "b"}) {
    std::string documents;
    for (int64_t i = 0; i < 23; ++i) documents += cat("{\"text\": \"", name, " ", i, ". So\"}\n");
    write_file_atomic(run.folder / cat(name, ".jsonl"), documents);
    config +=
        cat("[data.components.", name, "]\ntrain = [\"", name, ".jsonl\"]\npack = \"alone\"\n");
  }
  const auto check = [&](const std::string& text, bool mixes) {
    const std::string file = run.folder / "mixed.toml";
    write_file_atomic(file, text);
    const TrainConfig mixed = load_train_config(file);
    const auto data = train::load_data(mixed);
    const train::RowOrigins origins(mixed, *data);
    const Key root = key_from_seed(0);
    const data::ExampleSource source =
        data->training(train::training_options(mixed, fold_in(root, "data")));
    const data::SyncDataset<data::Example> examples(source.examples);
    int64_t checked = 0;
    for (int64_t example = 0; example < 2 * source.epoch_length; ++example) {
      const train::RowOrigin origin = origins.of(example);
      if (origin.component == "made_up") continue;
      const std::vector<int32_t>& tokens = examples[example].tokens;
      const std::string expected = cat(origin.component, " ", origin.row, ".");
      CHECK(data->tokenizer()->decode(std::span(tokens).first(expected.size())) == expected);
      ++checked;
    }
    CHECK(checked >= (mixes ? 20 : 92));
  };
  const std::string shuffled = config.substr(0, config.find("shuffle = false\n")) +
                               config.substr(config.find("shuffle = false\n") + 16);
  check(shuffled, false);
  check(cat(shuffled, "[data.train_weights]\nmade_up = 0.5\na = 0.2\nb = 0.3\n"), true);
}

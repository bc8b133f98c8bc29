// A run goes on with the data that it was begun with: the same content, wherever it lies.
#include "train/data_record.h"

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

#include <algorithm>

#include "base/strings.h"
#include "support/fault.h"
#include "support/program.h"

using namespace levanter;
using namespace levanter::testing;
using Catch::Contains;

namespace {

Ended trained(const SmallRun& run, int64_t steps, std::vector<std::string> words = {}) {
  words.push_back(cat("--trainer.num_train_steps=", steps));
  return run.train(std::move(words));
}

std::string hash_of(const SmallRun& run) {
  return nlohmann::json::parse(read_file(run / "logs/run/summary.json"))["params_hash"];
}

/// What an undisturbed run ends with that is extended to each of these steps in turn.
std::string straight(const std::vector<int64_t>& ends) {
  const SmallRun run;
  for (const int64_t steps : ends) REQUIRE(trained(run, steps).code == 0);
  return hash_of(run);
}

}  // namespace

TEST_CASE("a text that changed or grew under a run is refused at a resume", "[train]") {
  const SmallRun run;
  const std::string whole = read_file(run / "a.txt");
  std::string permuted = whole, altered = whole;
  std::reverse(permuted.begin(), permuted.end());
  altered[3000] = altered[3000] == 'a' ? 'e' : 'a';
  const std::string texts[] = {permuted, altered, whole + whole.substr(0, 50),
                               whole.substr(0, whole.size() / 2)};
  for (const bool cached : {false, true}) {
    remove_tree(run / "logs");
    std::vector<std::string> words;
    if (cached) words = {"--data.cache_dir=cache"};
    REQUIRE(trained(run, 10, words).code == 0);
    const std::string before = snapshot(run / "logs/run/checkpoints");
    for (const std::string& text : texts) {
      write_file_atomic(run / "a.txt", text);
      const Ended refused = trained(run, 20, words);
      INFO(refused.err);
      CHECK(refused.code == 3);
      if (cached && &text == texts) {
        CHECK_THAT(refused.err, Contains("made of file a.txt of") && Contains("the run wants"));
        remove_tree(run / "cache");
      }
      const Ended anew = trained(run, 20, words);
      CHECK(anew.code == 3);
      CHECK_THAT(anew.err, Contains("words/train was ") && Contains(" tokens in 1 document") &&
                               Contains("logs/run/checkpoints/step-10"));
      if (cached) remove_tree(run / "cache");
    }
    CHECK(snapshot(run / "logs/run/checkpoints") == before);
    write_file_atomic(run / "a.txt", whole);
    CHECK(trained(run, 20, words).code == 0);
    CHECK(hash_of(run) == straight({10, 20}));
  }
}

TEST_CASE("the same text at another path, in a cache or not, goes on to the same bits", "[train]") {
  const SmallRun run;
  REQUIRE(trained(run, 10).code == 0);
  make_directories(run / "moved");
  rename_path(run / "a.txt", run / "moved/b.text");
  const std::string moved = "--data.components.words.train=['moved/b.text']";
  const Ended ended = trained(run, 15, {moved, "--data.cache_dir=cache"});
  INFO(ended.err);
  REQUIRE(ended.code == 0);
  REQUIRE(trained(run, 20, {moved}).code == 0);
  CHECK(hash_of(run) == straight({10, 15, 20}));
  // A finished run knows its text by the content too.
  CHECK(trained(run, 20, {"--data.components.words.train=['nowhere.txt']"}).code == 0);
  // What the rest of the config says of the data still counts.
  CHECK(trained(run, 30, {moved, "--data.shuffle=false"}).code == 2);
}

TEST_CASE("a tokenizer at another path is known by its content", "[train]") {
  const SmallRun run;
  const auto write_tokenizer = [&](const char* folder, const char* words) {
    make_directories(run / folder);
    write_file_atomic(run / cat(folder, "/tokenizer.json"),
                      cat(R"({"model": {"type": "WordLevel", "unk_token": "x", "vocab": )", words,
                          R"(}, "pre_tokenizer": {"type": "Whitespace"}})"));
  };
  write_tokenizer("one", R"({"x": 0, "the": 1, "cat": 2})");
  write_tokenizer("same", R"({"x": 0, "the": 1, "cat": 2})");
  write_tokenizer("other", R"({"x": 0, "the": 2, "cat": 1})");
  const auto with = [](const char* folder) {
    return cat("--data.tokenizer={type=\"hf\", path=\"", folder, "\"}");
  };
  REQUIRE(trained(run, 10, {with("one")}).code == 0);
  const Ended refused = trained(run, 20, {with("other")});
  CHECK(refused.code == 2);
  CHECK_THAT(refused.err, Contains("data.tokenizer.path was"));
  CHECK(trained(run, 20, {with("same")}).code == 0);
}

TEST_CASE("a checkpoint that does not say what its data were is gone on from, with a word",
          "[train]") {
  const SmallRun run;
  REQUIRE(trained(run, 10).code == 0);
  const std::string path = run / "logs/run/checkpoints/step-10/manifest.json";
  std::string text = read_file(path);
  const size_t record = text.find(", \"data\": {");
  REQUIRE(record != std::string::npos);
  text.erase(record, text.find("}}", record) + 2 - record);
  text.resize(text.rfind(",\n\"xxh3\""));
  write_file_atomic(path, text + "}");
  rename_path(run / "a.txt", run / "b.txt");
  CHECK(trained(run, 20, {"--data.components.words.train=['b.txt']"}).code == 2);
  rename_path(run / "b.txt", run / "a.txt");
  const Ended ended = trained(run, 20);
  CHECK(ended.code == 0);
  CHECK_THAT(ended.err, Contains("does not say what its data held"));
  CHECK(hash_of(run) == straight({10, 20}));
}

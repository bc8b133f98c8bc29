// `levanter cache`: makes caches, checks them, shows documents; training from them changes no bit.
#include <catch2/catch.hpp>

#include <signal.h>
#include <unistd.h>

#include <chrono>
#include <memory>
#include <nlohmann/json.hpp>
#include <thread>

#include "base/file_lock.h"
#include "base/strings.h"
#include "support/source_root.h"
#include "support/fault.h"
#include "support/program.h"
#include "support/shared_data.h"

using namespace levanter;
using namespace levanter::testing;

TEST_CASE("caches are made once, checked, and train to the same bits as texts in memory",
          "[commands]") {
  const SmallRun run;
  REQUIRE(run.train({"--trainer.id=memory"}).code == 0);
  const Ended made = run({"cache", "--config", "run.toml", "--data.cache_dir=cache", "--json"});
  INFO(made.err);
  REQUIRE(made.code == 0);
  const auto counts = nlohmann::json::parse(made.out);
  CHECK(counts["component"] == "words");
  CHECK(counts["train_tokens"] > 0);
  CHECK(counts["ok"] == true);
  CHECK(path_exists(run / "cache/words/train/ledger.json"));
  const Ended again = run({"cache", "--config", "run.toml", "--data.cache_dir=cache", "--json"});
  CHECK(again.out == made.out);
  CHECK(again.err.empty());
  REQUIRE(
      run.train({"--trainer.id=cached", "--data.cache_dir=cache", "--data.auto_build_caches=false"})
          .code == 0);
  const auto hash = [&](const char* id) {
    return nlohmann::json::parse(read_file(run / cat("logs/", id, "/summary.json")))["params_hash"];
  };
  CHECK(hash("cached") == hash("memory"));
}

TEST_CASE("a disk that is full while caching spoils nothing, and a complete cache is only read",
          "[commands]") {
  const SmallRun run;
  std::string text;
  for (int i = 0; i < 3000; ++i) text += cat("{\"text\": \"word number ", i, " of them\"}\n");
  write_file_atomic(run / "words.jsonl", text);
  const auto cache = [&](const char* folder, int64_t file_bytes) {
    return run({"cache", "--config", "run.toml", "--data.components.words.train=['words.jsonl']",
                "--data.tokenizer.type=bytes", cat("--data.cache_dir=", folder)},
               {.file_bytes = file_bytes});
  };
  REQUIRE(cache("whole", -1).code == 0);
  for (int again = 0; again < 2; ++again) {
    const Ended full = cache("cut", 20000);
    CHECK(full.code == 6);
    CHECK_THAT(full.err, Catch::Contains("cannot write the token cache: file too large") &&
                             Catch::Contains("start again to go on"));
    CHECK_FALSE(path_exists(run / "cut/words/train/ledger.json"));
  }
  REQUIRE(cache("cut", -1).code == 0);
  for (const char* file : {"tokens.u16", "starts.i64", "ledger.json"})
    CHECK(read_file(run / cat("cut/words/train/", file)) ==
          read_file(run / cat("whole/words/train/", file)));

  remove_tree(run / "cut/words/train/lock");
  CHECK(cache("cut", -1).code == 0);
  CHECK_FALSE(path_exists(run / "cut/words/train/lock"));
}

TEST_CASE("inspect shows documents as text, and tokens where they are asked for", "[commands]") {
  const SmallRun run;
  const Ended text = run({"cache", "inspect", "--config", "run.toml"});
  REQUIRE(text.code == 0);
  CHECK(text.out.find("words/train, document 1 of 1") == 0);
  CHECK(text.out.find("  [") == std::string::npos);
  const Ended tokens = run({"cache", "inspect", "--config", "run.toml", "--tokens"});
  CHECK(tokens.out.size() > 3 * text.out.size());
  const Ended json = run({"cache", "inspect", "--config", "run.toml", "--json"});
  const auto document = nlohmann::json::parse(json.out);
  CHECK(document["ids"].size() == document["loss_weights"].size());
  CHECK(read_file(run / "a.txt").starts_with(document["text"].get<std::string>()));
  const Ended unknown = run({"cache", "inspect", "--config", "run.toml", "--component", "word"});
  CHECK(unknown.code == 2);
  CHECK(unknown.err.find("allowed  words") != std::string::npos);
}

TEST_CASE("a damaged, missing or foreign cache is refused", "[commands]") {
  const SmallRun run;
  const auto cache = [&](std::vector<std::string> words) {
    words.insert(words.begin(), {"cache", "--config", "run.toml"});
    return run(words);
  };
  CHECK(cache({}).code == 2);  // no folder is named
  CHECK(cache({"--data.cache_dir=cache", "--data.auto_build_caches=false"}).code == 3);
  REQUIRE(cache({"--data.cache_dir=cache"}).code == 0);
  const Ended foreign = cache({"--data.cache_dir=cache", "--data.tokenizer=bytes"});
  CHECK(foreign.code == 3);
  CHECK(foreign.err.find("tokenizer") != std::string::npos);
  flip_bit(run / "cache/words/train/tokens.u16", 5, 3);
  const Ended damaged = cache({"--data.cache_dir=cache"});
  CHECK(damaged.code == 3);
  CHECK(damaged.err.find("checksum") != std::string::npos);
}

TEST_CASE("eight runs started together over one new cache all finish", "[commands]") {
  const SmallRun run;
  std::string text;
  for (int i = 0; i < 60000; ++i) text += cat("{\"text\": \"word number ", i, " of them\"}\n");
  write_file_atomic(run / "words.jsonl", text);
  Surroundings surroundings;
  surroundings.folder = run.path();
  make_directories(run / "cache/words/train");
  auto lock = std::make_unique<ProcessLock>(run / "cache/words/train/lock", "");
  std::vector<std::unique_ptr<Program>> runs;
  for (int i = 0; i < 8; ++i)
    runs.push_back(std::make_unique<Program>(
        std::vector<std::string>{"train", "--config", "run.toml", "--data.cache_dir=cache",
                                 "--data.components.words.train=['words.jsonl']",
                                 "--data.tokenizer.type=bytes", "--trainer.max_eval_batches=1",
                                 cat("--trainer.id=r", i)},
        surroundings));
  std::this_thread::sleep_for(std::chrono::seconds(1));
  lock.reset();  // whoever goes on is killed: another does
  REQUIRE(wait_for_growth(run / "cache/words/train/tokens.u16", 0));
  const std::string owner = read_file(run / "cache/words/train/lock");
  for (const auto& one : runs)
    if (owner.starts_with(cat(one->pid(), " "))) one->signal(SIGKILL);
  int finished = 0, waited = 0;
  for (const auto& one : runs) {
    const Ended ended = one->wait();
    INFO(ended.err);
    CHECK((ended.code == 0 || ended.code == 128 + SIGKILL));
    finished += ended.code == 0 ? 1 : 0;
    waited += ended.err.find("is building this cache; waiting for it") != std::string::npos ? 1 : 0;
  }
  CHECK(finished >= 7);
  CHECK(waited > 0);
}

TEST_CASE("training and evaluation refuse a cache with a flipped bit", "[commands]") {
  const SmallRun run;
  REQUIRE(run.train({"--data.cache_dir=cache"}).code == 0);
  for (const char* name : {"tokens.u16", "starts.i64"}) {
    const std::string path = run / cat("cache/words/train/", name);
    flip_bit(path, 4, 0);
    for (const Ended& ended :
         {run.train({"--data.cache_dir=cache", "--trainer.id=other"}),
          run.train({"--data.cache_dir=cache", "--trainer.num_train_steps=30"}),
          run({"eval", "--checkpoint", "logs/run"})}) {
      CHECK(ended.code == 3);
      CHECK_THAT(ended.err, Catch::Contains("checksum") && Catch::Contains(path));
    }
    flip_bit(path, 4, 0);
  }
  CHECK(run({"eval", "--checkpoint", "logs/run"}).code == 0);
  CHECK_FALSE(path_exists(run / "logs/other"));
}

TEST_CASE("a cache that is cut short under a run ends it with the file's name", "[commands]") {
  const SmallRun run;
  REQUIRE(run({"cache", "--config", "run.toml", "--data.cache_dir=cache"}).code == 0);
  Surroundings surroundings;
  surroundings.folder = run.path();
  Program program({"train", "--config", "run.toml", "--data.cache_dir=cache",
                   "--trainer.num_train_steps=1000000"},
                  surroundings);
  REQUIRE(wait_for_growth(run / "logs/run/metrics.jsonl", 0));
  const std::string path = run / "cache/words/train/tokens.u16";
  REQUIRE(::truncate(path.c_str(), 64) == 0);
  const Ended ended = program.wait();
  CHECK(ended.code == 6);
  CHECK_THAT(ended.err, Catch::Contains(path) && Catch::Contains("too short"));
}

TEST_CASE("chats are cached by the template that stands beside the config", "[commands]") {
  const std::string chats = shared_data("chat/chat-200.jsonl.gz");
  if (chats.empty()) {
    WARN("skipped: the shared data are absent");
    return;
  }
  const SmallRun run;
  const Ended made =
      run({"cache", "inspect", "--config", cat(testing::source_root(), "/configs/data/chat.toml"),
           "--data.cache_dir=cache", "--json", "--documents=1",
           cat("--data.tokenizer.path=", shared_data("tokenizers/qwen3")),
           cat("--data.components.text.train=['", chats, "']")});
  INFO(made.err);
  REQUIRE(made.code == 0);
  const auto shown = nlohmann::json::parse(made.out);
  const std::vector<int32_t> ids = shown["ids"];
  const std::vector<float> weights = shown["loss_weights"];
  REQUIRE(ids.size() == weights.size());
  // Learned is what stands from behind "assistant\n" to <|im_end|>, which Qwen3 has as a token.
  constexpr int32_t kStart = 151644, kEnd = 151645, kAssistant = 77091;
  bool assistant = false;
  size_t ends = 0;
  for (size_t i = 0; i < ids.size(); ++i) {
    const bool head = i < 3 || ids[i] == kStart || ids[i - 1] == kStart || ids[i - 2] == kStart;
    if (i >= 2 && ids[i - 2] == kStart) assistant = ids[i - 1] == kAssistant;
    INFO("token " << i);
    CHECK(weights[i] == (assistant && !head && !(ids[i - 1] == kEnd) ? 1.0f : 0.0f));
    ends += ids[i] == kEnd && weights[i] == 1 ? 1 : 0;
  }
  CHECK(ends >= 2);
}

TEST_CASE("a mixture of real texts is cached with the tokens that are known of it, and trained on",
          "[commands]") {
  const std::string counts = shared_data("tokens/gpt2/large-texts.json");
  if (counts.empty()) {
    WARN("skipped: the shared data are absent");
    return;
  }
  const auto known = nlohmann::json::parse(read_file(counts));
  const auto tokens = [&](const char* text) { return known[text]["n_tokens"].get<int64_t>(); };
  const auto at = [&](const char* name) { return shared_data(name); };
  const SmallRun run;
  std::vector<std::string> words = {
      "--config",
      cat(testing::source_root(), "/configs/data/mixture.toml"),
      "--data.cache_dir=cache",
      cat("--data.tokenizer.path=", at("tokenizers/gpt2")),
      cat("--data.components.text.train=['", at("text/novels-valid.jsonl.gz"), "']"),
      cat("--data.components.text.validation=['", at("text/novels-valid.jsonl.gz"), "']"),
      cat("--data.components.sums.train=['", at("text/wikitext2-test.txt.gz"), "']"),
      cat("--data.components.sums.validation=['", at("text/wikitext2-valid.txt.gz"), "']"),
      "--data.components.sums.validation_fraction=none",
      "--model.vocab_size=50257"};
  std::vector<std::string> cache = words;
  cache.insert(cache.begin(), {"cache", "--json"});
  const Ended made = run(cache);
  INFO(made.err);
  REQUIRE(made.code == 0);
  const auto line = nlohmann::json::parse(made.out.substr(0, made.out.find('\n')));
  CHECK(line["component"] == "sums");
  CHECK(line["train_tokens"] == tokens("wikitext2-test.txt") + 1);  // and the end of the text
  CHECK(line["validation_tokens"] == tokens("wikitext2-valid.txt") + 1);

  words.insert(
      words.end(),
      {"--trainer.num_train_steps=2", "--trainer.train_batch_size=4", "--data.mixture_block_size=8",
       "--data.train_weight_stages=[]", "--data.train_weights={ text = 0.75, sums = 0.25 }",
       "--model.max_seq_len=32", "--model.hidden_dim=16", "--model.num_heads=2",
       "--model.num_layers=1", "--trainer.max_eval_batches=1", "--trainer.id=mixed"});
  words.insert(words.begin(), "train");
  const Ended trained = run(words);
  INFO(trained.err);
  REQUIRE(trained.code == 0);
  const auto summary = nlohmann::json::parse(read_file(run / "logs/mixed/summary.json"));
  for (const char* key :
       {"eval/loss", "eval/text/loss", "eval/sums/bpb", "eval/english/books/loss",
        "eval/english/micro_loss", "eval/english/macro_loss", "eval/macro_loss"}) {
    INFO(key);
    CHECK(summary.contains(key));
  }
}

// `levanter config check | print | describe` and the page that is made of them.
#include "commands/config_text.h"

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/files.h"
#include "base/strings.h"
#include "support/source_root.h"
#include "support/golden.h"
#include "support/program.h"
#include "support/temporary_folder.h"

using namespace levanter;
using testing::Ended;
using testing::SmallRun;
using testing::TemporaryFolder;

TEST_CASE("docs/config.md is what the program says of its keys", "[commands]") {
  const std::string page = commands::config_page();
  const bool same =
      page == testing::expected_text(cat(testing::source_root(), "/docs/config.md"), page);
  INFO("run the test with LEVANTER_UPDATE_GOLDEN=1 to write the page anew");
  CHECK(same);
}

TEST_CASE("config check says what a config describes", "[commands]") {
  const TemporaryFolder folder;
  write_file_atomic(folder / "run.toml",
                    "[model]\nmax_seq_len = 64\n[trainer]\ntrain_batch_size = 12\n");
  const std::vector<std::string> overrides = {"--trainer.num_train_steps=2000"};
  CHECK(commands::config_check(folder / "run.toml", overrides) ==
        cat(folder / "run.toml",
            ": gpt2, 2,000 steps of 12 sequences of 64 tokens, in microbatches of 12\n"));
}

TEST_CASE("config check names faults of files and of keys in one run", "[commands]") {
  const SmallRun run;
  write_file_atomic(run / "cut.jsonl", "{\"text\": \"the\n");
  write_file_atomic(run / "empty.txt", "");
  write_file_atomic(run / "bad.toml", R"(hf_save_path = "a.txt/out"
[model]
hidden_size = 64
num_heads = 5
[data]
tokenizer = { type = "hf", path = "nowhere" }
[data.components.a]
train = ["a.txt", "b.txt"]
[data.components.b]
train = ["cut.jsonl", "empty.txt"]
validation = ["s3://bucket/a.jsonl", "gone.jsonl"]
[data.components.c]
train = "shards-*.jsonl"
format = { type = "chat", chat_template = "none.jinja" }
[optimizer]
lr_schedule = "wsd"
[trainer]
log_dir = "a.txt"
[start_from]
kind = "hf"
path = "nothing"
)");
  const Ended ended = run({"config", "check", "bad.toml"});
  CHECK(ended.code == 2);
  CHECK(ended.out == "");
  for (const char* part :
       {"write model.hidden_dim", "model.num_heads = 5 does not divide",
        "lr_schedule.type = \"wsd\"", "did you mean \"<folder>/a.txt\"",
        "s3://bucket/a.jsonl\" is not on this machine", "<folder>/gone.jsonl",
        "names a file without any text", "cut.jsonl", "matches no file", "<folder>/nowhere",
        "none.jinja", "trainer.log_dir = \"a.txt\" can't be written to",
        "hf_save_path = ", "<folder>/nothing", "14 faults in bad.toml"}) {
    INFO(part << " in\n" << run.shorten(ended.err));
    CHECK(run.shorten(ended.err).find(part) != std::string::npos);
  }
  CHECK_FALSE(path_exists(run / "logs"));

  const Ended offline = run({"config", "check", "bad.toml", "--offline"});
  CHECK(offline.code == 2);
  CHECK(offline.err.find("4 faults in bad.toml") != std::string::npos);

  const Ended json = run({"config", "check", "bad.toml", "--json"});
  CHECK(json.code == 2);
  CHECK(json.err == "");
  const auto report = nlohmann::json::parse(json.out);
  CHECK(report["ok"] == false);
  CHECK(report["count"] == 14);
  CHECK(report["faults"].size() == 14);
  for (const auto& fault : report["faults"]) {
    CHECK(fault["message"].get<std::string>().size() > 10);
    CHECK(fault["at"].get<std::string>().find("bad.toml:") == 0);
  }
  const auto good = nlohmann::json::parse(run({"config", "check", "run.toml", "--json"}).out);
  CHECK(good["ok"] == true);
  CHECK(good["train_batch_size"] == 4);
  const auto none = nlohmann::json::parse(run({"config", "check", "no.toml", "--json"}).out);
  CHECK(none["faults"].size() == 1);
}

TEST_CASE("config check finds what is there and good", "[commands]") {
  const SmallRun run;
  CHECK(run({"config", "check", "run.toml"}).code == 0);
  REQUIRE(run.train({"--hf_save_path=hf"}).code == 0);
  const std::vector<std::string> check = {"config", "check", "run.toml"};
  const auto with = [&](std::vector<std::string> more) {
    more.insert(more.begin(), check.begin(), check.end());
    const Ended ended = run(more);
    INFO(ended.err);
    return ended.code;
  };
  CHECK(with({"--start_from={kind=\"checkpoint\", path=\"logs/run\"}"}) == 0);
  CHECK(with({"--start_from={kind=\"checkpoint\", path=\"logs\"}"}) == 2);
  CHECK(with({"--start_from={kind=\"hf\", path=\"hf/run/step-20\", what=\"model\"}",
              "--model.vocab_size=15"}) == 0);
  CHECK(with({"--start_from={kind=\"hf\", path=\"hf/run/step-20\", what=\"model\"}",
              "--model.vocab_size=15", "--model.num_layers=2"}) == 2);
  CHECK(with({"--data.components.words.train=**/a.txt"}) == 0);
  CHECK(with({"--data.components.words.train=."}) == 2);
  CHECK(with({"--data.components.words.train=https://localhost:1/a.txt"}) == 0);
  CHECK(with({"--data.cache_dir=new/folder", "--trainer.log_dir=new/logs"}) == 0);
  CHECK(with({"--data.cache_dir=a.txt/x"}) == 2);
}

TEST_CASE("after many faults no more files are looked for", "[commands]") {
  const SmallRun run;
  std::string text = "[data.components]\n";
  for (int i = 0; i < 3000; ++i) text += cat("a", i, " = { train = \"none", i, ".txt\" }\n");
  write_file_atomic(run / "many.toml", text);
  const Ended ended = run({"config", "check", "many.toml"});
  CHECK(ended.code == 2);
  CHECK(ended.err.find("40 faults in many.toml, of which 20 are shown") != std::string::npos);
}

TEST_CASE("a missing folder of a model hides no other fault", "[commands]") {
  const SmallRun run;
  write_file_atomic(run / "hf.toml", R"(model = { type = "from_hf", path = "none", num_layers = 2 }
[data.components.a]
train = "none.txt"
[trainer]
max_steps = 3
)");
  const Ended ended = run({"config", "check", "hf.toml"});
  CHECK(ended.code == 2);
  for (const char* part :
       {"<folder>/none", "none.txt", "write trainer.num_train_steps", "3 faults"}) {
    INFO(part << " in\n" << run.shorten(ended.err));
    CHECK(run.shorten(ended.err).find(part) != std::string::npos);
  }
  CHECK(run({"config", "check", "hf.toml", "--offline"}).err.find("2 faults") != std::string::npos);
  write_file_atomic(run / "alone.toml", "model = { type = \"from_hf\", path = \"none\" }\n");
  CHECK(run({"config", "print", "alone.toml"}).code == 4);
  const Ended word = run({"config", "print", "--model={type=\"from_hf\", path=\"none\"}"});
  CHECK(word.code == 4);
  CHECK(run.shorten(word.err).find("<folder>/none") != std::string::npos);
}

TEST_CASE("a component may have validation alone", "[commands]") {
  const SmallRun run;
  const std::vector<std::string> held = {"--data.components.held.validation=a.txt",
                                         "--trainer.num_train_steps=4"};
  REQUIRE(run.train(held).code == 0);
  const std::string summary = read_file(run / "logs/run/summary.json");
  CHECK(summary.find("eval/held/loss") != std::string::npos);
  const Ended alone = run.train(
      {"--trainer.id=x", "--data.components={}", "--data.components.words={validation=\"a.txt\"}"});
  CHECK(alone.code == 2);
  const Ended weighted = run.train({"--trainer.id=x", held[0], "--data.train_weights.held=1"});
  CHECK(weighted.code == 2);
  CHECK(weighted.err.find("no text to train on") != std::string::npos);
}

TEST_CASE("what config print shows is a config that prints the same", "[commands]") {
  const TemporaryFolder folder;
  write_file_atomic(folder / "run.toml",
                    "[data.components.letters]\ntrain = \"a.txt\"\n[optimizer]\nwarmup = 100\n");
  const std::string printed = commands::config_print(folder / "run.toml", {});
  make_directories(folder / "elsewhere");
  write_file_atomic(folder / "elsewhere/copy.toml", printed);
  CHECK(commands::config_print(folder / "elsewhere/copy.toml", {}) == printed);
  CHECK(printed.find(cat("train = [\"", folder / "a.txt", "\"]")) != std::string::npos);
}

TEST_CASE("config describe explains a key and names the nearest of an unknown one", "[commands]") {
  CHECK(commands::config_describe("optimizer.warmup").find("default 0.01") != std::string::npos);
  CHECK(commands::config_describe("optimizer.type") == commands::config_describe("optimizer"));
  CHECK(commands::config_describe("").find("trainer.seed\n") != std::string::npos);
  for (const auto& [wrong, right] :
       {std::pair("trainer.sed", "trainer.seed"), std::pair("warm_up", "optimizer.warmup")}) {
    try {
      commands::config_describe(wrong);
      FAIL("an unknown key was described");
    } catch (const Error& error) {
      CHECK(error.kind() == ErrorKind::kConfig);
      CHECK(std::string(error.what()).find(cat("the nearest key is ", right)) != std::string::npos);
    }
  }
}

// Texts through pipes, from the shell: into training, caches and evaluations, and out of generate.
#include <catch2/catch.hpp>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <nlohmann/json.hpp>
#include <thread>

#include "base/files.h"
#include "base/strings.h"
#include "support/compress.h"
#include "support/program.h"

using namespace levanter;
using namespace levanter::testing;

namespace {

/// A run whose text is also there compressed and as records.
struct Piped {
  Piped() {
    const std::string text = read_file(run / "a.txt");
    write_file_atomic(run / "a.txt.gz", gzip(text));
    std::string lines;
    for (const std::string& line : split(text, '\n'))
      lines += nlohmann::json({{"id", lines.size()}, {"text", line}}).dump() + "\n";
    write_file_atomic(run / "a.jsonl", lines);
  }

  /// `levanter train` in a pipe: `{}` in the line stands for it.
  Ended shell(std::string line, const std::string& words) const {
    const std::string command = cat("levanter train --config run.toml ", words);
    line.replace(line.find("{}"), 2, command);
    return run_shell(line, run.path());
  }
  std::string hash(const std::string& id) const {
    const auto summary = nlohmann::json::parse(read_file(run / cat("logs/", id, "/summary.json")));
    return summary.at("params_hash");
  }

  SmallRun run;
};

constexpr char kStdin[] = "--data.components.words.train=-";

}  // namespace

TEST_CASE("a text trains the same parameters through a pipe as from its file", "[commands]") {
  const Piped piped;
  REQUIRE(piped.run.train({"--trainer.id=file"}).code == 0);
  const std::string wanted = piped.hash("file");
  int number = 0;
  for (const char* line : {"cat a.txt | {}", "cat a.txt.gz | {}", "gzip -dc a.txt.gz | {}",
                           "{} < a.txt", "(sleep 0.1; cat a.txt) | {}"}) {
    INFO(line);
    const std::string id = cat("pipe", ++number);
    const Ended ended = piped.shell(line, cat("--trainer.id=", id, " ", kStdin));
    INFO(ended.err);
    REQUIRE(ended.code == 0);
    CHECK(piped.hash(id) == wanted);
  }
  write_file_atomic(piped.run / "dash.toml",
                    cat("include = [\"run.toml\"]\n[data.components.words]\ntrain = [\"-\"]\n"));
  CHECK(run_shell("zcat a.txt.gz | levanter train --config dash.toml", piped.run.path()).code == 0);
  CHECK(piped.hash("dash") == wanted);
  // And the config that the run left reads from there too.
  CHECK(run_shell("cat a.txt | levanter train --config logs/dash/config.toml --trainer.id=again",
                  piped.run.path())
            .code == 0);
  CHECK(piped.hash("again") == wanted);
}

TEST_CASE("records through a pipe are told by what they begin with", "[commands]") {
  const Piped piped;
  const std::string bytes = "--data.tokenizer.type=bytes";
  REQUIRE(
      piped.run.train({"--trainer.id=file", bytes, "--data.components.words.train=a.jsonl"}).code ==
      0);
  for (const char* line : {"cat a.jsonl | {}", "(printf '\\357\\273\\277'; cat a.jsonl) | {}",
                           "gzip -c a.jsonl | {}"}) {
    INFO(line);
    REQUIRE(piped.shell(line, cat("--trainer.id=pipe ", bytes, " ", kStdin)).code == 0);
    CHECK(piped.hash("pipe") == piped.hash("file"));
    remove_tree(piped.run / "logs/pipe");
  }
  const Ended bad = piped.shell("(cat a.jsonl; echo '{\"txt\": 1}') | {}", cat(bytes, " ", kStdin));
  CHECK(bad.code == 3);
  CHECK_THAT(bad.err, Catch::Contains("the standard input:"));
}

TEST_CASE("a pipe that the shell names, or that has a name, is read once", "[commands]") {
  const Piped piped;
  const std::string bytes = "--data.tokenizer.type=bytes";
  REQUIRE(piped.run.train({"--trainer.id=file", bytes}).code == 0);
  REQUIRE(::mkfifo((piped.run / "pipe").c_str(), 0600) == 0);
  const Ended ended =
      piped.shell("(cat a.txt > pipe) & {}; s=$?; wait; exit $s",
                  cat("--trainer.id=named ", bytes, " --data.components.words.train=pipe"));
  INFO(ended.err);
  REQUIRE(ended.code == 0);
  CHECK(piped.hash("named") == piped.hash("file"));
  const Ended refused =
      piped.run.train({"--trainer.id=char", "--data.components.words.train=pipe"});
  CHECK(refused.code == 3);
  CHECK_THAT(refused.err, Catch::Contains("can be read only once"));
  if (!path_exists("/bin/bash")) return;
  write_file_atomic(piped.run / "line.sh",
                    cat("levanter train --config run.toml --trainer.id=shell ", bytes,
                        " --data.components.words.train=<(zcat a.txt.gz)"));
  REQUIRE(run_shell("bash line.sh", piped.run.path()).code == 0);
  CHECK(piped.hash("shell") == piped.hash("file"));
}

TEST_CASE("a run whose cache holds the stream goes on without it", "[commands]") {
  const Piped piped;
  const std::string first = "--trainer.num_train_steps=10 --data.cache_dir=cache ";
  REQUIRE(piped.run.train({"--trainer.id=file", "--trainer.num_train_steps=10"}).code == 0);
  REQUIRE(piped.run.train({"--trainer.id=file"}).code == 0);
  REQUIRE(piped.shell("cat a.txt | {}", cat(first, "--trainer.id=pipe ", kStdin)).code == 0);
  const Ended resumed = piped.shell("{}", cat("--data.cache_dir=cache --trainer.id=pipe ", kStdin));
  INFO(resumed.err);
  CHECK(resumed.code == 0);
  CHECK(resumed.err.find("standard input") == std::string::npos);
  CHECK(piped.hash("pipe") == piped.hash("file"));
  // One that is given all the same is not taken for the cached one's: that is said.
  const Ended given = piped.shell("echo other | {}", cat("--data.cache_dir=cache --trainer.id=pipe "
                                                         "--trainer.num_train_steps=30 ",
                                                         kStdin));
  CHECK(given.code == 0);
  CHECK_THAT(
      given.err,
      Catch::Contains("words/train comes from its token cache, not from the standard input\n"));
  // What evaluates the run needs no stream either.
  CHECK(piped.run({"eval", "--checkpoint", "logs/pipe"}).code == 0);
}

TEST_CASE("a stream that is missing is an error that says what it is needed for", "[commands]") {
  const Piped piped;
  const auto error = [&](const Ended& ended, int code) {
    CHECK(ended.code == code);
    return ended.err.substr(std::min(ended.err.find("error: "), ended.err.size()));
  };
  CHECK(error(piped.shell("{}", kStdin), 3) ==
        "error: data.components.words.train is the standard input, which is empty\n"
        "  hint     the tokenizer's vocabulary is taken from this text: pipe it in, as in zcat "
        "text.gz | levanter train --config FILE\n");
  CHECK_THAT(error(piped.shell("{} <&-", kStdin), 3), Catch::Contains("which is closed"));
  CHECK_FALSE(path_exists(piped.run / "logs"));
  REQUIRE(piped.shell("cat a.txt | {}", cat("--trainer.num_train_steps=10 ", kStdin)).code == 0);
  const std::string before = snapshot(piped.run / "logs");
  for (const char* line : {"{}", "true | {}"})
    CHECK(error(piped.shell(line, kStdin), 3) ==
          "error: data.components.words.train is the standard input, which is empty\n"
          "  hint     pipe the text in, as in zcat text.gz | levanter train --config FILE; without "
          "data.cache_dir every start needs it\n");
  CHECK(snapshot(piped.run / "logs") == before);
  CHECK_THAT(error(piped.shell("{}", cat("--data.cache_dir=cache ", kStdin)), 3),
             Catch::Contains("the cache ") && Catch::Contains("cache/words/train is not complete"));
  CHECK_THAT(error(piped.run({"eval", "--checkpoint", "logs/run"}), 3),
             Catch::Contains("data.components.words.train is the standard input"));
  // The same command with the same stream goes on.
  CHECK(piped.shell("cat a.txt | {}", kStdin).code == 0);
}

TEST_CASE("commands that need no stream do without", "[commands]") {
  const Piped piped;
  const Ended plan = piped.run({"plan", "--config", "run.toml", kStdin});
  CHECK(plan.code == 2);
  CHECK_THAT(plan.err, Catch::Contains("a pipe, which only training reads") &&
                           Catch::Contains("set model.vocab_size"));
  CHECK(piped.run({"plan", "--config", "run.toml", kStdin, "--model.vocab_size=15"}).code == 0);
  CHECK(piped.run({"config", "check", "--config", "run.toml", kStdin}).code == 0);
  const std::string held =
      "--data.components.words.validation=a.txt "
      "--data.components.words.validation_fraction=none";
  REQUIRE(piped.shell("cat a.txt | {}", cat(kStdin, " ", held)).code == 0);
  const Ended eval = piped.run({"eval", "--checkpoint", "logs/run"});
  INFO(eval.err);
  CHECK(eval.code == 0);
}

TEST_CASE("two names of the standard input are refused", "[commands]") {
  const Piped piped;
  const Ended twice = piped.run({"config", "check", "--config", "run.toml", kStdin,
                                 "--data.components.more.train=/dev/stdin"});
  CHECK(twice.code == 2);
  CHECK_THAT(twice.err,
             Catch::Contains("data.components.more.train and "
                             "data.components.words.train both name the standard input"));
}

TEST_CASE("answers go through a pipe, which may close", "[commands]") {
  const Piped piped;
  REQUIRE(piped.run.train().code == 0);
  const Ended answered = run_shell(
      "yes '{\"prompt\": \"the\"}' | levanter generate --checkpoint logs/run --json "
      "--max-new-tokens 3 | head -n 2",
      piped.run.path());
  CHECK(answered.code == 0);
  CHECK(answered.err == "");
  CHECK(split(answered.out, '\n').size() == 3);
  const Ended scored =
      run_shell("head -n 3 a.jsonl | levanter eval --checkpoint logs/run --documents - | wc -l",
                piped.run.path());
  CHECK(trim(scored.out) == "3");
  if (run_shell("jq --version", piped.run.path()).code != 0) return;
  CHECK(
      run_shell("echo '{\"id\": 7, \"prompt\": \"the\"}' | levanter generate --checkpoint logs/run "
                "--json --max-new-tokens 3 | jq '.id, (.ids | length)'",
                piped.run.path())
          .out == "7\n3\n");
}

// `levanter train`: its exit codes, what it leaves, what it prints, and signals.
#include <catch2/catch.hpp>

#include <signal.h>

#include <nlohmann/json.hpp>

#include "base/strings.h"
#include "support/program.h"

using namespace levanter;
using namespace levanter::testing;

namespace {

constexpr int kRequeue = 75;

nlohmann::json read_json(const std::string& path) { return nlohmann::json::parse(read_file(path)); }

size_t count(const std::string& text, const std::string& part) {
  size_t n = 0;
  for (size_t at = 0; (at = text.find(part, at)) != std::string::npos; at += part.size()) ++n;
  return n;
}

}  // namespace

TEST_CASE("epochs become steps once the data are read", "[commands]") {
  const SmallRun run;
  const std::vector<std::string> epochs = {"--trainer.num_train_epochs=1.5"};
  const Ended ended = run.train(epochs);
  INFO(ended.err);
  REQUIRE(ended.code == 0);
  const nlohmann::json summary = read_json(run / "logs/run/summary.json");
  const int64_t rows = summary["dataset/epoch_rows"], steps = summary["global_step"];
  CHECK(rows > 100);
  CHECK(steps == (3 * rows + 7) / 8);  // batches of 4 rows, the last one begun
  CHECK(ended.err.find(cat("trainer.num_train_epochs = 1.5 is ", steps, " steps")) !=
        std::string::npos);
  const std::string saved = read_file(run / "logs/run/config.toml");
  CHECK(saved.find(cat("num_train_steps = ", steps, "\n")) != std::string::npos);
  CHECK(saved.find("num_train_epochs = \"none\"\n") != std::string::npos);
  CHECK(run.train(epochs).err.find("nothing was changed") != std::string::npos);

  // The same run by its steps, and one that is begun, stopped by its length and made longer.
  const std::string hash = summary["params_hash"];
  REQUIRE(run.train({"--trainer.id=steps", cat("--trainer.num_train_steps=", steps)}).code == 0);
  CHECK(read_json(run / "logs/steps/summary.json")["params_hash"] == hash);
  REQUIRE(run.train({"--trainer.num_train_epochs=2"}).code == 0);
  CHECK(read_json(run / "logs/run/summary.json")["global_step"] == (2 * rows + 3) / 4);
}

TEST_CASE("epochs are counted by the tokenizer that the run reads with", "[commands]") {
  const SmallRun run;
  REQUIRE(run.train({"--trainer.id=letters"}).code == 0);
  // Another text's letters: the checkpoint's tokenizer is taken, and its windows count.
  const std::vector<std::string> words = {
      "--trainer.num_train_epochs=1", "--trainer.id=on", "--start_from.kind=checkpoint",
      "--start_from.path=logs/letters", "--start_from.what=model"};
  REQUIRE(run.train(words).code == 0);
  const nlohmann::json summary = read_json(run / "logs/on/summary.json");
  CHECK(summary["global_step"] == summary["dataset/epoch_steps"]);
  // Fewer epochs than the other run has steps.
  std::vector<std::string> all = words;
  all.back() = "--start_from.what=all";
  all[0] = "--trainer.num_train_epochs=0.001";
  all[1] = "--trainer.id=past";
  const Ended past = run.train(all);
  CHECK(past.code == 2);
  CHECK(past.err.find("raise trainer.num_train_epochs") != std::string::npos);
  CHECK(past.err.find("--trainer.num_train_epochs=0.001") != std::string::npos);
  const Ended ends = run({"config", "check", "run.toml", "--trainer.num_train_epochs=1",
                          "--data.stop_strategy=first_exhausted"});
  CHECK(ends.code == 2);
  CHECK(ends.err.find("says where they end") != std::string::npos);
}

TEST_CASE("a run is as long as its steps say or its epochs", "[commands]") {
  const SmallRun run;
  const std::string file = read_file(run / "run.toml");
  const size_t at = file.find("num_train_steps");
  write_file_atomic(run / "both.toml",
                    file.substr(0, at) + "num_train_epochs = 3\n" + file.substr(at));
  const Ended both = run({"config", "check", "both.toml"});
  CHECK(both.code == 2);
  CHECK(both.err.find("trainer.num_train_epochs and trainer.num_train_steps both say") !=
        std::string::npos);
  // A command's word counts for more than the file's.
  std::string only = file;
  only.replace(at, std::string("num_train_steps = 20").size(), "num_train_epochs = 3");
  write_file_atomic(run / "only.toml", only);
  CHECK(run({"config", "check", "only.toml"}).out.find("3 epochs of 4 sequences") !=
        std::string::npos);
  CHECK(run({"config", "check", "only.toml", "--trainer.num_train_steps=7"}).out.find("7 steps") !=
        std::string::npos);
  const std::string printed = run({"config", "print", "only.toml"}).out;
  CHECK(printed.find("num_train_steps") == std::string::npos);
  write_file_atomic(run / "printed.toml", printed);
  CHECK(run({"config", "print", "printed.toml"}).out == printed);
  CHECK(run({"config", "check", "run.toml", "--trainer.num_train_epochs=0"}).code == 2);
}

TEST_CASE("a run leaves its config, metrics, summary, events and checkpoints", "[commands]") {
  const SmallRun run;
  const Ended ended = run.train();
  CHECK(ended.code == 0);
  CHECK(ended.out == "");
  CHECK(ended.err.find("step 20/20") != std::string::npos);
  CHECK(ended.err.find('\x1b') == std::string::npos);  // no terminal, no colour
  CHECK(ended.err.find('\r') == std::string::npos);
  CHECK(list_directory(run / "logs/run") ==
        std::vector<std::string>{"checkpoints", "config.toml", "lock", "metrics.jsonl", "plan.json",
                                 "report.html", "run.json", "summary.json", "tensorboard"});
  CHECK(list_directory(run / "logs/run/checkpoints") ==
        std::vector<std::string>{"step-10", "step-20"});

  int64_t last_step = 0, training_lines = 0;
  for (const std::string& line : split(read_file(run / "logs/run/metrics.jsonl"), '\n')) {
    if (line.empty()) continue;
    const auto metrics = nlohmann::json::parse(line);
    const int64_t step = metrics.at("step");
    CHECK(step >= last_step);
    last_step = step;
    training_lines += metrics.contains("train/loss");
  }
  CHECK(last_step == 20);
  CHECK(training_lines == 20);

  const auto summary = read_json(run / "logs/run/summary.json");
  for (const char* key : {"eval/loss", "eval/bpb", "train/loss", "best/eval/loss",
                          "best/eval/loss_step", "global_step", "parameter_count", "params_hash"}) {
    INFO(key);
    CHECK(summary.contains(key));
  }
  const auto verified =
      nlohmann::json::parse(run({"verify", "--checkpoint", "logs/run", "--json"}).out);
  CHECK(summary["params_hash"] == verified["params_hash"]);
}

TEST_CASE("the resolved config of a run trains the same parameters", "[commands]") {
  const SmallRun run;
  REQUIRE(run.train({"--trainer.seed", "3"}).code == 0);
  REQUIRE(run({"train", "--config", "logs/run/config.toml", "--trainer.id=again"}).code == 0);
  CHECK(read_json(run / "logs/run/summary.json")["params_hash"] ==
        read_json(run / "logs/again/summary.json")["params_hash"]);
}

TEST_CASE("a finished run started again says so and changes nothing", "[commands]") {
  const SmallRun run;
  REQUIRE(run.train().code == 0);
  const std::string before = snapshot(run / "logs");
  for (const char* steps : {"20", "15"}) {  // and what is asked for may be less than was done
    const Ended again = run.train({"--trainer.num_train_steps", steps});
    CHECK(again.code == 0);
    CHECK(again.out == "");
    CHECK(run.shorten(again.err) == "<folder>/logs/run has finished; nothing was changed\n");
    CHECK(snapshot(run / "logs") == before);
  }
}

TEST_CASE("a run is found from any folder, with blanks and letters of any script", "[commands]") {
  const SmallRun run;
  make_directories(run / "my räume/deep");
  for (const char* name : {"a.txt", "run.toml"})
    write_file_atomic(run / cat("my räume/", name), read_file(run / name));
  const Ended ended = run({"train", "--config", "my räume/run.toml"});
  CHECK(ended.code == 0);
  CHECK(path_exists(run / "my räume/logs/run/summary.json"));
  const Ended again =
      run_program({"train", "--config", "../run.toml"}, {.folder = run / "my räume/deep"});
  CHECK(again.code == 0);
  CHECK(again.err.find("has finished") != std::string::npos);
  // A path in an override starts where the user stands.
  CHECK(run({"train", "--config", "my räume/run.toml", "--trainer.log_dir=here"}).code == 0);
  CHECK(path_exists(run / "here/run/summary.json"));
}

TEST_CASE("a signal ends the run after its step with a checkpoint, and it goes on from there",
          "[commands]") {
  for (const int number : {SIGINT, SIGTERM}) {
    const SmallRun run;
    Program program({"train", "--config", run / "run.toml", "--trainer.num_train_steps=1000000",
                     "--trainer.steps_per_eval=1000000"});
    REQUIRE(wait_for_growth(run / "logs/run/metrics.jsonl", 0));
    program.signal(number);
    const Ended ended = program.wait();
    CHECK(ended.code == kRequeue);
    const auto verified =
        nlohmann::json::parse(run({"verify", "--checkpoint", "logs/run", "--json"}).out);
    CHECK(verified["ok"] == true);
    const int64_t step = verified["step"];
    const Ended resumed =
        run.train({"--trainer.num_train_steps", cat(step + 1), "--trainer.steps_per_eval=1000000"});
    CHECK(resumed.code == 0);
    CHECK(resumed.err.starts_with(cat("resuming from step ", step, "\n")));
  }
}

TEST_CASE("a run whose console goes away trains to its end", "[commands]") {
  const SmallRun run;
  const Ended ended = run.train({}, {.closed_stream = 2});
  CHECK(ended.code == 0);
  const SmallRun usual;
  REQUIRE(usual.train().code == 0);
  CHECK(read_json(run / "logs/run/summary.json")["params_hash"] ==
        read_json(usual / "logs/run/summary.json")["params_hash"]);
  // Nothing that was meant for the console went into a file.
  CHECK(count(read_file(run / "logs/run/metrics.jsonl"), "tokens/s") == 0);
  CHECK(run({"verify", "--checkpoint", "logs/run"}).code == 0);
}

TEST_CASE("node by node on the reference backend trains too", "[commands]") {
  const SmallRun run;
  const Ended ended = run.train({"--eager", "--trainer.num_train_steps=2"});
  CHECK(ended.code == 0);
  CHECK(read_json(run / "logs/run/summary.json")["global_step"] == 2);
}

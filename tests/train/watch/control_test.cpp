// The file `control` of a run's folder.
#include "train/watch/control.h"

#include <catch2/catch.hpp>

#include <signal.h>
#include <time.h>

#include <nlohmann/json.hpp>
#include <thread>

#include "base/files.h"
#include "base/strings.h"
#include "checkpoint/folder.h"
#include "support/program.h"

using namespace levanter;
using namespace levanter::testing;
using Catch::Contains;
using nlohmann::json;

namespace {

constexpr int kRequeue = 75;

std::vector<std::string> long_run(const SmallRun& run, std::vector<std::string> more = {}) {
  std::vector<std::string> words = {"train",
                                    "--config",
                                    run / "run.toml",
                                    "--trainer.num_train_steps=1000000",
                                    "--trainer.steps_per_eval=1000000",
                                    "--trainer.checkpointer.save_interval=none",
                                    "--trainer.checkpointer.keep=[]"};
  words.insert(words.end(), more.begin(), more.end());
  return words;
}

/// Half a minute at most.
template <class Condition>
bool wait_until(Condition condition) {
  for (int i = 0; i < 3000; ++i) {
    if (condition()) return true;
    constexpr timespec kMoment{0, 10'000'000};
    ::nanosleep(&kMoment, nullptr);
  }
  return false;
}

size_t evaluations(const std::string& metrics) {
  size_t count = 0;
  for (const std::string& line : split(read_file(metrics), '\n'))
    count += line.find("\"eval/loss\"") != line.npos;
  return count;
}

}  // namespace

TEST_CASE("words are taken once, in any order, and others are told", "[train]") {
  const TemporaryFolder folder;
  std::vector<std::string> said;
  write_file_atomic(folder / "control", "stop\n");  // of nobody who meant this run
  train::Control control(folder.path(), [&](std::string_view line) { said.emplace_back(line); });
  REQUIRE(said.size() == 1);
  CHECK_THAT(said[0], Contains("before the run began"));
  train::ask(folder.path(), "evaluate");
  train::ask(folder.path(), "save");
  train::Requests requests;
  control.look(requests);
  CHECK(requests.save);
  CHECK(requests.evaluate);
  CHECK(list_directory(folder.path()).empty());
  write_file_atomic(folder / "control", "pause\n");
  requests = {};
  REQUIRE(wait_until([&] {
    control.look(requests);
    return said.size() > 1;
  }));
  CHECK(said[1] == "control: \"pause\" is none of save, evaluate, stop");
  CHECK(!requests.save);
  CHECK(list_directory(folder.path()).empty());
}

TEST_CASE("a control file that is long or no text gives one line, and hurts nothing", "[train]") {
  const TemporaryFolder folder;
  std::vector<std::string> said;
  train::Control control(folder.path(), [&](std::string_view line) { said.emplace_back(line); });
  const auto look = [&](const std::string& text) {
    said.clear();
    write_file_atomic(folder / "control", text);
    train::Requests requests;
    CHECK(wait_until([&] {
      control.look(requests);
      return !path_exists(folder / "control");
    }));
    return requests;
  };
  CHECK(look("pause\nsave\nwait\ngo\n").save);
  REQUIRE(said.size() == 1);
  CHECK(said[0] == "control: \"pause\" and 2 more are none of save, evaluate, stop");
  look("\xff\x1b[2J");
  REQUIRE(said.size() == 1);
  CHECK(said[0] == "control: \"\ufffd\\u001b[2J\" is none of save, evaluate, stop");
  look(std::string(39, 'a') + "\u00e9");  // of which one byte would be left
  REQUIRE(said.size() == 1);
  CHECK_THAT(said[0], Contains(quote(std::string(39, 'a')) + " is none"));
  std::string flood;
  while (flood.size() < 1'000'000) flood += "what\n";
  CHECK(!look(flood + "save\n").save);
  REQUIRE(said.size() == 2);
  CHECK(said[0] == "control: what is behind 4.00 KiB is left out");
  CHECK(said[1] == "control: \"what\" and 818 more are none of save, evaluate, stop");
  look(std::string(5000, 'x'));
  CHECK(said.size() == 1);
}

TEST_CASE("what many ask at once is all there", "[train]") {
  const TemporaryFolder folder;
  write_file_atomic(folder / "control", "evaluate");  // without a line's end
  std::vector<std::thread> askers;
  for (int i = 0; i < 4; ++i)
    askers.emplace_back([&] {
      for (int n = 0; n < 50; ++n) train::ask(folder.path(), "save");
    });
  for (std::thread& asker : askers) asker.join();
  int64_t saves = 0, evaluations = 0;
  for (const std::string& line : split(read_file(folder / "control"), '\n')) {
    saves += line == "save";
    evaluations += line == "evaluate";
  }
  CHECK(saves == 200);
  CHECK(evaluations == 1);
}

TEST_CASE("a run saves, evaluates and stops when it is asked to", "[train]") {
  const SmallRun run;
  for (const std::string ranks : {"1", "3"}) {
    INFO(ranks << " ranks");
    const std::string id = "ranks" + ranks, folder = run / ("logs/" + id);
    const std::string metrics = folder + "/metrics.jsonl";
    std::vector<std::string> more = {"--trainer.id=" + id};
    if (ranks != "1") {
      more.push_back("--trainer.communicator=threads");
      more.push_back("--trainer.ranks=" + ranks);
      more.push_back("--trainer.microbatch_size=1");
    }
    Program program(long_run(run, more));
    REQUIRE(wait_for_growth(metrics, 2000));
    CHECK(run({"top", folder, "--ask", "save"}).code == 0);
    CHECK(wait_until([&] { return !list_checkpoints(folder + "/checkpoints").empty(); }));
    CHECK(run({"top", folder, "--ask", "evaluate"}).code == 0);
    CHECK(wait_until([&] { return evaluations(metrics) == 1; }));
    write_file_atomic(folder + "/control", "dance\n");
    CHECK(wait_until([&] { return !path_exists(folder + "/control"); }));
    CHECK(run({"top", folder, "--ask", "stop"}).code == 0);
    const Ended ended = program.wait();
    INFO(ended.err);
    CHECK(ended.code == kRequeue);
    CHECK_THAT(ended.err, Contains("control: \"dance\" is none of save, evaluate, stop"));
    const json summary = json::parse(read_file(folder + "/summary.json"));
    CHECK(summary["status"] == "stopped");
    CHECK(list_checkpoints(folder + "/checkpoints").back() == summary["global_step"]);
  }
}

TEST_CASE("a run without validation says that it has nothing to evaluate", "[train]") {
  const SmallRun run;
  const std::string folder = run / "logs/run", key = "validation_fraction = 0.1\n";
  std::string text = read_file(run / "run.toml");
  REQUIRE(text.find(key) != text.npos);
  write_file_atomic(run / "run.toml", text.erase(text.find(key), key.size()));
  Program program(long_run(run));
  REQUIRE(wait_for_growth(folder + "/metrics.jsonl", 2000));
  const Ended asked = run({"top", folder, "--ask", "evaluate"});
  CHECK(asked.code == 3);
  CHECK_THAT(asked.err, Contains("has nothing to evaluate: no component has validation files") &&
                            Contains("hint"));
  CHECK(!path_exists(folder + "/control"));
  write_file_atomic(folder + "/control", "evaluate\nstop\n");  // by another way
  const Ended ended = program.wait();
  CHECK(ended.code == kRequeue);
  CHECK_THAT(ended.err, Contains("control: there is nothing to evaluate: no component has"));
}

TEST_CASE("what no run does is not asked for, nor of a run that has ended", "[train]") {
  const SmallRun run;
  REQUIRE(run.train().code == 0);
  CHECK_THAT(
      run({"top", "logs/run", "--ask", "pause"}).err,
      Contains("--ask \"pause\" is nothing that a run does") && Contains("save, evaluate, stop"));
  CHECK_THAT(run({"top", "logs/run", "--ask", "save"}).err, Contains("it is finished"));
  CHECK(!path_exists(run / "logs/run/control"));
}

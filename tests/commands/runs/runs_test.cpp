// `levanter runs`: the table of a folder's runs, sorted and filtered.
#include <catch2/catch.hpp>

#include <nlohmann/json.hpp>

#include "base/files.h"
#include "base/strings.h"
#include "support/program.h"
#include "support/temporary_folder.h"

using namespace levanter;
using namespace levanter::testing;

namespace {

/// A folder of three runs, one of which has measured nothing yet.
struct Sweep {
  Sweep() {
    plant("a", "1e-3", 2.5, 1.75);
    plant("b", "0.0003", 2.25, 1.5);
    make_directories(folder / "c");
    write_file_atomic(folder / "c/config.toml", config("c", "3e-3"));
    write_file_atomic(folder / "no_run.txt", "");
    make_directories(folder / "nor_this");
  }

  static std::string config(const std::string& id, const std::string& rate) {
    return cat("[trainer]\nid = \"", id,
               "\"\nnum_train_steps = 40\n[optimizer]\nlearning_rate = ", rate,
               "\n[model]\ntype = \"gpt2\"\n");
  }
  void plant(const std::string& id, const std::string& rate, double loss, double best) const {
    make_directories(folder / id);
    write_file_atomic(folder / cat(id, "/config.toml"), config(id, rate));
    write_file_atomic(folder / cat(id, "/summary.json"),
                      cat("{\"id\": ", quote(id),
                          ", \"status\": \"finished\", \"global_step\": 40, "
                          "\"best/eval/loss\": ",
                          best, ", \"best/eval/loss_step\": 30}"));
    write_file_atomic(folder / cat(id, "/metrics.jsonl"),
                      cat("{\"step\": 39, \"throughput/tokens_per_second\": 1200}\n"
                          "{\"step\": 40, \"train/loss\": ",
                          loss, ", \"throughput/tokens_per_second\": 1200}\n"));
  }
  Ended operator()(std::vector<std::string> words) const {
    words.insert(words.begin(), {"runs", folder.path()});
    return run_program(words);
  }

  TemporaryFolder folder;
};

}  // namespace

TEST_CASE("a folder of runs is a table with the keys in which they differ", "[commands]") {
  const Sweep sweep;
  const Ended ended = sweep({});
  CHECK(ended.code == 0);
  CHECK(ended.err == "");
  CHECK(ended.out ==
        "run  state     step   best loss  loss    tokens/s  learning_rate\n"
        "a    finished  40/40  1.7500     2.5000  1,200     0.001\n"
        "b    finished  40/40  1.5000     2.2500  1,200     3e-04\n"
        "c    -         0/40   -          -       -         0.003\n");
}

TEST_CASE("runs are sorted by any column or key, and chosen by conditions", "[commands]") {
  const Sweep sweep;
  const auto names = [&](std::vector<std::string> words) {
    words.push_back("--json");
    std::string all;
    for (const std::string& line : split(sweep(words).out, '\n'))
      if (!line.empty()) all += nlohmann::json::parse(line)["run"].get<std::string>();
    return all;
  };
  CHECK(names({"--sort", "best_loss"}) == "bac");
  CHECK(names({"--sort", "best_loss", "--reverse"}) == "abc");  // what is missing stays last
  CHECK(names({"--sort", "optimizer.learning_rate"}) == "bac");
  CHECK(names({"--where", "optimizer.learning_rate=3e-4"}) == "b");
  CHECK(names({"--where", "learning_rate>=1e-3", "--where", "state=finished"}) == "a");
  CHECK(names({"--where", "state!=finished"}) == "c");
  CHECK(names({"--where", "model.type=gpt2"}) == "abc");
  CHECK_THAT(sweep({"--where", "learning_rat=1"}).err,
             Catch::Contains("no run has a key \"learning_rat\""));
  for (const char* none : {"state", "step>>", "step==40", "step=<40"})
    CHECK_THAT(sweep({"--where", none}).err, Catch::Contains("is no condition"));
}

TEST_CASE("tables for programs have every digit", "[commands]") {
  const Sweep sweep;
  CHECK(sweep({"--csv", "--key", "type", "--where", "run=a"}).out ==
        "run,state,step,loss,best_loss,best_step,tokens_per_second,started,ended,model.type\n"
        "a,finished,40,2.5,1.75,30,1200,,,gpt2\n");
  const Ended none = run_program({"runs", sweep.folder / "nor_this"});
  CHECK(none.code == 3);
  CHECK_THAT(none.err, Catch::StartsWith("error: no run is in "));
}

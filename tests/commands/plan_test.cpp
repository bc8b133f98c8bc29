// `levanter plan`: the report as reviewed, its JSON, and what it advises when memory is short.
#include <catch2/catch.hpp>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/strings.h"
#include "support/golden.h"
#include "support/program.h"

using namespace levanter;
using namespace levanter::testing;

namespace {

constexpr int kDoesNotFit = 5;

/// The report without source lines and workspaces, which follow the code and the processor.
std::string steady(const std::string& report) {
  std::string text;
  for (std::string line : split(report, '\n')) {
    if (const size_t at = line.find(", src/"); at != std::string::npos) line.resize(at);
    for (const char* changing : {"workspace ", "total "})
      if (line.starts_with(changing)) line = changing;
    text += line + "\n";
  }
  return text.substr(0, text.size() - 1);
}

}  // namespace

TEST_CASE("the report of a small run is as it was reviewed", "[commands]") {
  const SmallRun run;
  const Ended ended = run({"plan", "--config", "run.toml", "--memory", "1G"});
  CHECK(ended.code == 0);
  CHECK(ended.err == "");
  const std::string text = steady(ended.out);
  CHECK(text == expected_text(golden_path("plan/small.txt"), text));
  CHECK_FALSE(path_exists(run / "logs"));
}

TEST_CASE("the JSON has the keys that scripts rely on, and they add up", "[commands]") {
  const SmallRun run;
  const Ended ended = run({"plan", "--config", "run.toml", "--json"});
  CHECK(ended.code == 0);
  const auto plan = nlohmann::json::parse(ended.out);
  std::vector<std::string> keys;
  for (const auto& item : plan.items()) keys.push_back(item.key());
  CHECK(keys == std::vector<std::string>{"arena_bytes", "fits", "parameters", "persistent_bytes",
                                         "save_bytes", "total_bytes", "workspace_bytes"});
  CHECK(plan["fits"] == true);
  const int64_t sum = plan["persistent_bytes"].get<int64_t>() + plan["arena_bytes"].get<int64_t>() +
                      plan["workspace_bytes"].get<int64_t>();
  CHECK(plan["total_bytes"] > sum);  // the loader's bytes are in the total too
  CHECK(plan["parameters"] == 3808);
}

TEST_CASE("exactly total and save bytes are enough, one less is not", "[commands]") {
  const SmallRun run;
  const auto plan = nlohmann::json::parse(run({"plan", "--config", "run.toml", "--json"}).out);
  const int64_t need = plan["total_bytes"].get<int64_t>() + plan["save_bytes"].get<int64_t>();
  CHECK(run({"plan", "--config", "run.toml", "--memory", cat(need)}).code == 0);
  const Ended less = run({"plan", "--config", "run.toml", "--memory", cat(need - 1)});
  CHECK(less.code == kDoesNotFit);
  CHECK(less.out.find("\nDOES NOT FIT; ") != std::string::npos);
  const Ended json = run({"plan", "--config", "run.toml", "--memory", cat(need - 1), "--json"});
  CHECK(json.code == kDoesNotFit);
  CHECK(nlohmann::json::parse(json.out)["fits"] == false);
}

TEST_CASE("what plan says would fit does, and what would not does not", "[commands]") {
  const SmallRun run;
  const auto plan = nlohmann::json::parse(run({"plan", "--config", "run.toml", "--json"}).out);
  const int64_t most = plan["total_bytes"].get<int64_t>() + plan["save_bytes"].get<int64_t>();
  int tried = 0;
  for (const int64_t memory : {most - 1, most - 20000, most / 2}) {
    const std::string out = run({"plan", "--config", "run.toml", "--memory", cat(memory)}).out;
    const size_t at = out.find("DOES NOT FIT; ");
    REQUIRE(at != std::string::npos);
    for (std::string line : split(out.substr(at), '\n')) {
      std::erase(line, '\'');  // a shell's
      const size_t words = line.find(" --");
      if (words == std::string::npos) continue;
      std::vector<std::string> command = {"plan", "--config", "run.toml", "--memory", cat(memory)};
      for (const std::string& word : split(line.substr(words + 1), ' ')) command.push_back(word);
      CHECK((run(command).code == 0) == (line.find("  fits ") != std::string::npos));
      ++tried;
    }
  }
  CHECK(tried >= 3);
}

TEST_CASE("a plan offers the largest microbatch that fits, or the least that there is",
          "[commands]") {
  const SmallRun run;
  const auto lines = [&](int64_t memory) {
    const std::string out = run({"plan", "--config", "run.toml", "--memory", cat(memory)}).out;
    std::vector<std::string> found;
    for (const std::string& line : split(out, '\n'))
      if (line.find("microbatch_size=") != std::string::npos) found.push_back(line);
    return found;
  };
  const auto needed = [&](int64_t size) {
    std::vector<std::string> command = {"plan", "--config", "run.toml", "--json"};
    command.push_back(cat("--trainer.microbatch_size=", size));
    command.push_back("--trainer.gradient_groups=1");
    const auto plan = nlohmann::json::parse(run(command).out);
    return plan["total_bytes"].get<int64_t>() + plan["save_bytes"].get<int64_t>();
  };
  const std::vector<std::string> two = lines(needed(2)), one = lines(needed(2) - 1);
  REQUIRE((two.size() == 1 && one.size() == 1));
  CHECK(two[0].find("  fits ") != std::string::npos);
  CHECK(two[0].find("microbatch_size=2 ") != std::string::npos);
  CHECK(one[0].find("microbatch_size=1 ") != std::string::npos);
  const std::vector<std::string> none = lines(1000);
  REQUIRE(none.size() == 1);
  CHECK(none[0].find("does not fit") != std::string::npos);
  CHECK(none[0].find("microbatch_size=1 ") != std::string::npos);
}

TEST_CASE("a plan names optimizers that keep less where only they would fit", "[commands]") {
  const SmallRun run;
  const auto planned = [&](const std::string& optimizer) {
    const auto plan = nlohmann::json::parse(
        run({"plan", "--config", "run.toml", "--json", cat("--optimizer.type=", optimizer),
             "--trainer.microbatch_size=1", "--trainer.gradient_groups=1"})
            .out);
    return plan["total_bytes"].get<int64_t>() + plan["save_bytes"].get<int64_t>();
  };
  const auto advice = [&](const std::string& optimizer, int64_t memory) {
    return run({"plan", "--config", "run.toml", "--memory", cat(memory),
                cat("--optimizer.type=", optimizer)})
        .out;
  };
  const std::string kMore = "an optimizer that keeps less than ";
  // Halfway between what the least of both takes: AdamW's state fits, soap's does not.
  const int64_t adam = planned("adam"), soap = planned("soap");
  REQUIRE(soap > adam);
  const std::string short_of = advice("soap", soap - (soap - adam) / 8);
  CHECK(short_of.find("nothing of this fits: " + kMore) != std::string::npos);
  CHECK(short_of.find("\"adam\" (") != std::string::npos);
  // Where no optimizer would do, none is named; nor where the run's own keeps the least.
  CHECK(advice("soap", 1000).find(kMore) == std::string::npos);
  CHECK(advice("adafactor", planned("adafactor") - 1).find(kMore) == std::string::npos);
}

TEST_CASE("a plan asks for the data only when the vocabulary is not known", "[commands]") {
  const SmallRun run;
  remove_tree(run / "a.txt");
  CHECK(run({"plan", "--config", "run.toml"}).code == 3);
  CHECK(run({"plan", "--config", "run.toml", "--model.vocab_size=16"}).code == 0);
  CHECK(run({"plan", "--config", "run.toml", "--data.tokenizer.type=bytes"}).code == 0);
}

TEST_CASE("a plan takes the vocabulary of a tokenizer without reading a text", "[commands]") {
  const SmallRun run;
  REQUIRE(run({"tokenizer", "train", "a.txt", "--vocab-size", "280", "--out", "bpe"}).code == 0);
  remove_tree(run / "a.txt");
  const Ended ended =
      run({"plan", "--config", "run.toml", "--json", "--data.tokenizer={type=\"hf\", path=\"bpe\"}",
           "--data.cache_dir=cache"});
  INFO(ended.err);
  CHECK(ended.code == 0);
  CHECK_FALSE(path_exists(run / "cache"));
}

TEST_CASE("a plan tells how long a run takes once the machine's peak is known", "[commands]") {
  const SmallRun run;
  const std::vector<std::string> words = {"plan", "--config", "run.toml", "--model.vocab_size=16",
                                          "--trainer.num_train_steps=100000000"};
  const Surroundings empty{.environment = {cat("XDG_CACHE_HOME=", run / "cache")}};
  const std::string before = run(words, empty).out;
  CHECK(before.find("\ntime           not known: ") != std::string::npos);
  REQUIRE(run.train({}, empty).code == 0);
  const std::string after = run(words, empty).out;
  INFO(after);
  CHECK(after.find("\ntime           about ") != std::string::npos);
  const std::string shorter = run({"plan", "--config", "run.toml"}, empty).out;
  CHECK(shorter.find("\ntime ") == std::string::npos);
}

TEST_CASE("what does not fit is refused before a text is read", "[commands]") {
  const SmallRun run;
  remove_tree(run / "a.txt");
  const Ended ended = run.train({"--model.vocab_size=100000000", "--model.hidden_dim=100000"});
  INFO(ended.err);
  CHECK(ended.code == kDoesNotFit);
  CHECK_FALSE(path_exists(run / "logs"));
}

TEST_CASE("a run goes on when the folder of its tokenizer has moved away", "[commands]") {
  const SmallRun run;
  REQUIRE(run({"tokenizer", "train", "a.txt", "--vocab-size", "280", "--out", "bpe"}).code == 0);
  const std::string tokenizer = "--data.tokenizer={type=\"hf\", path=\"bpe\"}";
  REQUIRE(run.train({tokenizer}).code == 0);
  remove_tree(run / "bpe");
  const Ended ended = run.train({tokenizer, "--trainer.num_train_steps=25"});
  INFO(ended.err);
  CHECK(ended.code == 0);
}

TEST_CASE("a plan for ranks needs no launcher, and says what each needs and sends", "[commands]") {
  const SmallRun run;
  const auto plan = [&](std::vector<std::string> words) {
    words.insert(words.begin(), {"plan", "--config", "run.toml", "--trainer.microbatch_size=1"});
    return run(std::move(words));
  };
  for (const std::string shard : {"none", "optimizer", "parameters"}) {
    const Ended ended = plan({"--ranks", "4", "--shard", shard, "--json"});
    CHECK(ended.code == 0);
    CHECK(ended.out == plan({"--trainer.communicator=mpi", "--trainer.ranks=4",
                             cat("--trainer.shard=", shard), "--json"})
                           .out);
    const auto told = nlohmann::json::parse(ended.out);
    REQUIRE(told["ranks"].size() == 4);
    int64_t most = 0;
    for (const auto& rank : told["ranks"]) {
      most = std::max<int64_t>(
          most, rank["total_bytes"].get<int64_t>() + rank["save_bytes"].get<int64_t>());
      CHECK(rank["sent_gradients_bytes"] > 0);
      CHECK((rank["sent_norms_bytes"] > 0) == (shard != "none"));
    }
    CHECK((told["ranks"][0]["sent_parameters_bytes"] > 0) == (shard == "optimizer"));
    CHECK((told["ranks"][0]["sent_gathered_bytes"] > 0) == (shard == "parameters"));
    CHECK(most == told["total_bytes"].get<int64_t>() + told["save_bytes"].get<int64_t>());
  }
  const std::string report = plan({"--ranks", "2"}).out;
  CHECK(report.find("\ntotal, rank ") != std::string::npos);
  CHECK(plan({"--trainer.ranks=2", "--trainer.communicator=threads"})
            .out.find("\ntotal, all ranks ") != std::string::npos);
  CHECK(report.find("\n  rank 1  ") != std::string::npos);
  CHECK(report.find("a row of an evaluation") != std::string::npos);
  for (const auto& [words, error] :
       {std::pair{std::vector<std::string>{"--ranks", "0"}, "--ranks = \"0\""},
        std::pair{std::vector<std::string>{"--ranks", "9"}, "trainer.gradient_groups"},
        std::pair{std::vector<std::string>{"--shard", "half"}, "none, optimizer"}}) {
    const Ended ended = plan(words);
    INFO(ended.err);
    CHECK(ended.code == 2);
    CHECK(ended.err.find(error) != std::string::npos);
  }
}

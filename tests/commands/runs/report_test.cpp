// `levanter report`: pages on runs, and on the tokens of documents.
#include <catch2/catch.hpp>

#include <nlohmann/json.hpp>

#include "base/strings.h"
#include "support/program.h"

using namespace levanter;
using namespace levanter::testing;

namespace {

/// The JSON that a page's script reads.
nlohmann::json data_of(const std::string& page) {
  const std::string_view begin = "id=\"data\">";
  const size_t at = page.find(begin) + begin.size();
  return nlohmann::json::parse(page.substr(at, page.find("</script>", at) - at));
}

}  // namespace

TEST_CASE("a run has its page and its record at its end, and several share a page", "[commands]") {
  const SmallRun run;
  REQUIRE(run.train({"--trainer.id=a"}).code == 0);
  const std::string page = read_file(run / "logs/a/report.html");
  CHECK_THAT(page, Catch::Contains("<title>a - levanter</title>"));
  const auto data = data_of(page);
  CHECK(data["charts"][0]["title"] == "Loss");
  CHECK(data["charts"][0]["lines"][0]["mean"].size() == 20);
  CHECK(data["charts"][0]["lines"][1]["label"] == "validation");
  CHECK(data["plan"]["buffers"].size() > 10);

  const auto record = nlohmann::json::parse(read_file(run / "logs/a/run.json"));
  REQUIRE(record["starts"].size() == 1);
  const auto& start = record["starts"][0];
  CHECK(start["outcome"] == "finished");
  CHECK(start["first_step"] == 0);
  CHECK(start["last_step"] == 20);
  CHECK(start["data"].contains("words/train"));
  CHECK(start["command"][1] == "train");
  CHECK(start["config_hash"].get<std::string>().size() == 16);

  REQUIRE(run.train({"--trainer.id=b", "--trainer.seed=3"}).code == 0);
  const Ended both = run({"report", "logs/a", "logs/b"});
  CHECK(both.code == 0);
  CHECK(both.out == "report.html\n");
  const std::string pair = read_file(run / "report.html");
  CHECK_THAT(pair, Catch::Contains("<th>trainer.seed</th>"));
  CHECK(data_of(pair)["charts"][0]["lines"].size() == 2);
}

TEST_CASE("a page shows what the checkpoints' models write", "[commands]") {
  const SmallRun run;
  REQUIRE(run.train({"--trainer.sample.every=20", "--trainer.sample.prompts=[\"the\"]",
                     "--trainer.sample.max_new_tokens=6"})
              .code == 0);
  const std::string of_run = read_file(run / "logs/run/samples.jsonl");
  REQUIRE(run({"report", "logs/run", "--sample", "the", "--sample-tokens", "5"}).code == 0);
  const std::string first = read_file(run / "logs/run/report_samples.jsonl");
  const auto lines = split(first, '\n');
  REQUIRE(lines.size() >= 2);
  const auto sample = nlohmann::json::parse(lines[0]);
  CHECK(sample["prompt"] == "the");
  CHECK(sample["text"].get<std::string>().size() == 5);
  CHECK_THAT(read_file(run / "logs/run/report.html"),
             Catch::Contains("<pre><b>the</b>" + sample["text"].get<std::string>() + "</pre>"));
  REQUIRE(run({"report", "logs/run", "--sample", "the", "--sample-tokens", "5"}).code == 0);
  CHECK(read_file(run / "logs/run/report_samples.jsonl") == first);
  CHECK(read_file(run / "logs/run/samples.jsonl") == of_run);  // which the run may be writing
  const auto own = nlohmann::json::parse(split(of_run, '\n').at(0));
  CHECK_THAT(read_file(run / "logs/run/report.html"),
             Catch::Contains("<pre><b>the</b>" + own["text"].get<std::string>() + "</pre>"));
}

TEST_CASE("a run that fails is recorded with its error", "[commands]") {
  const SmallRun run;
  const Ended failed = run.train(
      {"--optimizer.learning_rate=1e30", "--optimizer.warmup=0", "--optimizer.max_grad_norm=none"});
  REQUIRE(failed.code == 7);
  const auto start = nlohmann::json::parse(read_file(run / "logs/run/run.json"))["starts"][0];
  CHECK(start["outcome"] == "failed");
  CHECK_THAT(start["error"].get<std::string>(), Catch::StartsWith("step "));
  CHECK_THAT(read_file(run / "logs/run/report.html"), Catch::Contains("failed, ended "));
}

TEST_CASE("a page of tokens has what the model thought of each", "[commands]") {
  const SmallRun run;
  REQUIRE(run.train().code == 0);
  write_file_atomic(run / "d.txt", "the cat sat on a mat the cat sat");  // longer than the window
  const Ended ended = run({"report", "logs/run", "--logprobs", "d.txt"});
  CHECK(ended.err == "");
  CHECK(ended.out == "logs/run/logprobs.html\n");
  const auto documents = data_of(read_file(run / "logs/run/logprobs.html"));
  REQUIRE(documents.size() == 1);
  const auto scores = nlohmann::json::parse(
      run({"eval", "--checkpoint", "logs/run", "--documents", "d.txt", "--json"}).out);
  REQUIRE(documents[0].size() == scores["ids"].size());
  std::string text;
  double most = 0;
  for (size_t i = 0; i < documents[0].size(); ++i) {
    const auto& token = documents[0][i];
    text += token[0].get<std::string>();
    if (i == 0) continue;
    const auto& [logprob, entropy, likeliest] =
        std::tuple(token[1][0].get<double>(), token[1][1].get<double>(), token[1][3]);
    CHECK(entropy > 0);
    CHECK(likeliest[0][1] >= likeliest[1][1]);
    if (i < 8) most = std::max(most, std::abs(logprob - scores["logprobs"][i].get<double>()));
  }
  CHECK(text == "the cat sat on a mat the cat sat");
  CHECK(most < 2e-4);  // logarithms are written to four digits, and other kernels compute them
  CHECK_THAT(run({"report", "logs/none"}).err, Catch::StartsWith("error: logs/none is no run's"));
}

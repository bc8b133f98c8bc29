// `levanter eval`: the same losses as the run itself, as a table and as JSON.
#include <catch2/catch.hpp>
#include <deque>

#include <nlohmann/json.hpp>

#include <limits>

#include "base/strings.h"
#include "support/safetensors_file.h"
#include "support/program.h"
#include "support/read_all.h"
#include "support/shared_data.h"

using namespace levanter;
using namespace levanter::testing;

TEST_CASE("eval gives the losses that the run measured at its end, to the bit", "[commands]") {
  const SmallRun run;
  REQUIRE(run.train().code == 0);
  const auto summary = nlohmann::json::parse(read_file(run / "logs/run/summary.json"));
  for (const char* checkpoint :
       {"logs/run", "logs/run/checkpoints", "logs/run/checkpoints/step-20"}) {
    const Ended ended = run({"eval", "--checkpoint", checkpoint, "--json"});
    CHECK(ended.code == 0);
    CHECK(ended.err == "");
    const auto metrics = nlohmann::json::parse(ended.out);
    CHECK(metrics["step"] == 20);
    CHECK(metrics["eval/loss"] == summary["eval/loss"]);
    CHECK(metrics["eval/bpb"] == summary["eval/bpb"]);
  }
}

TEST_CASE("eval says that the run's own data have changed since", "[commands]") {
  const SmallRun run;
  REQUIRE(run.train().code == 0);
  write_file_atomic(run / "a.txt", read_file(run / "a.txt") + " the cat");
  const Ended ended = run({"eval", "--checkpoint", "logs/run", "--json"});
  CHECK(ended.code == 0);
  CHECK_THAT(ended.err, Catch::StartsWith("the data are not those that the run was trained with: "
                                          "words/train was "));
  CHECK(nlohmann::json::parse(ended.out).contains("eval/loss"));
  CHECK(run({"eval", "--checkpoint", "logs/run", "--config", "run.toml"}).err == "");
}

TEST_CASE("eval takes other data, other batches and fewer of them", "[commands]") {
  const SmallRun run;
  REQUIRE(run.train().code == 0);
  const auto loss = [&](std::vector<std::string> words) {
    words.insert(words.begin(), {"eval", "--checkpoint", "logs/run", "--json"});
    const Ended ended = run(words);
    REQUIRE(ended.code == 0);
    return nlohmann::json::parse(ended.out)["eval/loss"].get<double>();
  };
  const double all = loss({});
  CHECK(loss({"--trainer.microbatch_size=2"}) == all);
  CHECK(loss({"--trainer.threads=2"}) == all);
  CHECK(loss({"--config", "run.toml"}) == all);
  CHECK(loss({"--trainer.max_eval_batches=1"}) != all);
  write_file_atomic(run / "b.txt", std::string(100, 'a') + " cat ran to a mat");
  write_file_atomic(run / "other.toml",
                    "[model]\nmax_seq_len = 16\nhidden_dim = 16\nnum_layers = 1\nnum_heads = 2\n"
                    "[data.components.words]\ntrain = [\"a.txt\"]\nvalidation = [\"b.txt\"]\n");
  CHECK(loss({"--config", "other.toml"}) != all);
}

TEST_CASE("eval refuses more rows at a time than memory holds", "[commands]") {
  if (!memory_can_be_limited()) return;
  const SmallRun run;
  REQUIRE(run.train().code == 0);
  const Ended ended = run({"eval", "--checkpoint", "logs/run", "--batch", "1048576"},
                          {.address_space = int64_t{2} << 30});
  CHECK(ended.code == 5);
  CHECK_THAT(ended.err, Catch::StartsWith("error: 1,048,576 rows at a time need "));
  CHECK_THAT(ended.err, Catch::Contains("hint     --batch N computes fewer at a time"));
}

TEST_CASE("eval prints a table for people", "[commands]") {
  const SmallRun run;
  REQUIRE(run.train().code == 0);
  const std::vector<std::string> lines = split(run({"eval", "--checkpoint", "logs/run"}).out, '\n');
  REQUIRE(lines.size() >= 3);
  CHECK(lines[0] == "logs/run/checkpoints/step-20");
  CHECK(lines[1].starts_with("eval/loss "));
  CHECK(lines[2].starts_with("eval/bpb "));
}

TEST_CASE("eval --documents gives each token its probability, whatever the batch", "[commands]") {
  const SmallRun run;
  REQUIRE(run.train().code == 0);
  const std::string long_text = "the cat sat on a mat and ran to the cat";
  const std::string lines = "{\"text\": \"the cat\"}\n\n{\"text\": \"" + long_text + "\"}\n";
  write_file_atomic(run / "lines.jsonl", lines);
  write_file_atomic(run / "plain.txt", long_text);
  const auto scored = [&](std::vector<std::string> words, Surroundings surroundings = {}) {
    words.insert(words.begin(), {"eval", "--checkpoint", "logs/run", "--documents"});
    const Ended ended = run(words, std::move(surroundings));
    CHECK(ended.err == "");
    CHECK(ended.code == 0);
    return ended.out;
  };
  const std::string all = scored({"lines.jsonl"});
  for (const char* batch : {"1", "7", "64"})
    for (const char* threads : {"1", "2"})
      CHECK(scored({"lines.jsonl", "--batch", batch, cat("--trainer.threads=", threads)}) == all);
  CHECK(scored({"-"}, {.input = lines}) == all);
  const std::vector<std::string> two = split(all, '\n');
  CHECK(scored({"plain.txt"}) == two[1] + "\n");
  const auto json = nlohmann::json::parse(two[1]);
  CHECK(json["ids"].size() == long_text.size());
  CHECK(json["logprobs"].size() == long_text.size());
  CHECK(json["logprobs"][0].is_null());
  CHECK(json["bytes"] == long_text.size());
  double sum = 0;
  for (size_t i = 1; i < long_text.size(); ++i) sum += json["logprobs"][i].get<double>();
  CHECK(json["logprob"] == Approx(sum).epsilon(1e-6));
  CHECK(sum < 0);
  CHECK(scored({"plain.txt", "--stride", "4"}) != scored({"plain.txt"}));
}

TEST_CASE("documents that are none, and strides beyond the window, are refused", "[commands]") {
  const SmallRun run;
  REQUIRE(run.train().code == 0);
  const auto error = [&](std::vector<std::string> words, const std::string& input) {
    words.insert(words.begin(), {"eval", "--checkpoint", "logs/run", "--documents", "-"});
    const Ended ended = run(words, {.input = input});
    CHECK(ended.code != 0);
    return ended.err;
  };
  CHECK_THAT(error({}, "{\"text\": \"the\"}\n{\"txt\": 1}\n"),
             Catch::Contains("a document is no object with a \"text\"") &&
                 Catch::Contains("the standard input:2"));
  const Ended half = run({"eval", "--checkpoint", "logs/run", "--documents", "-"},
                         {.input = "{\"text\": \"the\"}\nno\n"});
  CHECK(split(half.out, '\n').size() >= 1);
  CHECK_THAT(half.out, Catch::Contains("\"bytes\": 3"));  // what came before the bad line
  CHECK_THAT(error({"--stride", "17"}, "{}\n"), Catch::Contains("1 to 16"));
  CHECK_THAT(error({"--batch", "0"}, "{}\n"), Catch::Contains("--batch"));
}

TEST_CASE("other keys of a document go into its scores, and a bad one has its error",
          "[commands]") {
  const SmallRun run;
  REQUIRE(run.train().code == 0);
  const std::string input =
      "{\"id\": 1, \"text\": \"the\"}\n{\"id\": 2, \"text\": 5}\n{\"text\": \"a\", \"id\": [3]}\n";
  for (const char* batch : {"1", "64"}) {
    const Ended ended =
        run({"eval", "--checkpoint", "logs/run", "--documents", "-", "--batch", batch},
            {.input = input});
    CHECK(ended.code == 3);
    CHECK(ended.err ==
          "error: \"text\" is the number 5, not a string\n  at       the standard input:2\n");
    const std::vector<std::string> lines = split(ended.out, '\n');
    REQUIRE(lines.size() == 4);
    CHECK(lines[0].starts_with("{\"id\": 1, \"ids\": ["));
    CHECK(lines[1] ==
          "{\"id\": 2, \"error\": \"\\\"text\\\" is the number 5, not a string\", \"line\": 2}");
    CHECK(nlohmann::json::parse(lines[2]).at("bytes") == 1);
    CHECK(lines[2].starts_with("{\"id\": [3], "));
  }
  // An array of records over several lines is as good.
  const Ended array = run({"eval", "--checkpoint", "logs/run", "--documents", "-"},
                          {.input = "[{\"text\": \"the\",\n \"meta\": {\n\"a\": 1}}]"});
  CHECK(array.code == 0);
  CHECK(array.out.starts_with("{\"meta\": { \"a\": 1}, \"ids\": ["));
}

TEST_CASE("eval takes the model that the weights are of, and says where a config has another",
          "[commands]") {
  const SmallRun run;
  const char* bytes = "--data.tokenizer.type=bytes";
  REQUIRE(run.train({bytes, "--trainer.num_train_steps=1"}).code == 0);
  REQUIRE(run({"export", "--checkpoint", "logs/run", "--out", "hf"}).code == 0);
  const auto evaluate = [&](const char* checkpoint, const char* model) {
    return run(
        {"eval", "--checkpoint", checkpoint, "--config", "run.toml", bytes, model, "--json"});
  };
  const auto loss = [](const Ended& ended) {
    INFO(ended.err);
    REQUIRE(ended.code == 0);
    return nlohmann::json::parse(ended.out)["eval/loss"].get<double>();
  };
  for (const char* checkpoint : {"hf", "logs/run"}) {
    INFO(checkpoint);
    const Ended same = evaluate(checkpoint, "--model.num_layers=1");
    CHECK(same.err == "");
    const Ended other = evaluate(checkpoint, "--model.hidden_dim=32");
    CHECK(loss(other) == loss(same));
    CHECK_THAT(other.err, Catch::Contains("not the config's: model.hidden_dim is 16, not 32\n"));
    const Ended family = evaluate(checkpoint, "--model.type=llama");
    CHECK(loss(family) == loss(same));
    CHECK_THAT(family.err, Catch::Contains("model.type is \"gpt2\", not \"llama\""));
  }
}

TEST_CASE("a model that is not finite is an error of every command", "[commands]") {
  const SmallRun run;
  const char* bytes = "--data.tokenizer.type=bytes";
  REQUIRE(run.train({bytes, "--trainer.num_train_steps=1"}).code == 0);
  REQUIRE(run({"export", "--checkpoint", "logs/run", "--out", "hf"}).code == 0);
  const std::string path = run / "hf/model.safetensors";
  const safetensors::File sound(path);
  std::vector<float> numbers(16, 1);
  numbers[3] = std::numeric_limits<float>::quiet_NaN();
  std::vector<safetensors::WriteTensor> tensors;
  std::deque<std::vector<std::byte>> data;
  for (const safetensors::Tensor& tensor : sound.tensors()) {
    data.push_back(safetensors::bytes_of(tensor));
    const bool ruined = tensor.name == "transformer.ln_f.bias";
    tensors.push_back({{tensor.name, tensor.element, tensor.shape},
                       ruined ? std::as_bytes(std::span(numbers)) : std::span(data.back())});
  }
  safetensors::write_file(run / "new.safetensors", tensors);
  write_file_atomic(path, read_file(run / "new.safetensors"));
  const std::vector<std::string> commands[] = {
      {"eval", "--checkpoint", "hf", "--config", "run.toml", bytes},
      {"train", "--config", "run.toml", bytes, "--start_from.kind=hf", "--start_from.path=hf",
       "--trainer.id=other"},
      {"export", "--checkpoint", "hf", "--out", "again"},
  };
  for (const std::vector<std::string>& words : commands) {
    INFO(words[0]);
    const Ended ended = run(words);
    CHECK(ended.code == 4);
    CHECK_THAT(ended.err,
               Catch::Contains("transformer.ln_f.bias") && Catch::Contains("not finite"));
  }
}

TEST_CASE("the stories model's log-probabilities are the reference's", "[commands]") {
  constexpr double kTolerance = 8.2e-5;  // twice the drift of float32 that the reference states
  const std::string stories = shared_data("models/stories260K");
  if (stories.empty()) {
    WARN("skipped: the shared data are absent");
    return;
  }
  const auto texts =
      nlohmann::json::parse(read_all(join_path(stories, "reference.json.gz")))["texts"];
  std::string lines;
  for (const auto& text : texts) lines += nlohmann::json{{"text", text["text"]}}.dump() + "\n";
  const SmallRun run;
  const Ended ended = run({"eval", "--checkpoint", stories, "--documents", "-"}, {.input = lines});
  REQUIRE(ended.err == "");
  const std::vector<std::string> found = split(ended.out, '\n');
  for (size_t i = 0; i < texts.size(); ++i) {
    const auto logprobs = nlohmann::json::parse(found[i])["logprobs"];
    const auto& expected = texts[i]["token_logprobs"];
    REQUIRE(logprobs.size() > expected.size());
    for (size_t t = 0; t < expected.size(); ++t)
      CHECK(std::abs(logprobs[t + 1].get<double>() - expected[t].get<double>()) <= kTolerance);
  }
}

// `levanter generate`: prompts from everywhere, the same text for the same seed, JSON lines.
#include <catch2/catch.hpp>

#include <nlohmann/json.hpp>

#include "base/files.h"
#include "base/strings.h"
#include "support/program.h"
#include "support/read_all.h"
#include "support/shared_data.h"

using namespace levanter;
using namespace levanter::testing;

namespace {

/// A trained run, and `levanter generate` from it.
struct Trained {
  Trained() { REQUIRE(run.train().code == 0); }

  Ended generate(std::vector<std::string> words, Surroundings surroundings = {}) const {
    words.insert(words.begin(), {"generate", "--checkpoint", "logs/run"});
    return run(std::move(words), std::move(surroundings));
  }
  /// The standard output of one that succeeds.
  std::string text(std::vector<std::string> words, Surroundings surroundings = {}) const {
    const Ended ended = generate(std::move(words), std::move(surroundings));
    CHECK(ended.code == 0);
    CHECK(ended.err == "");
    return ended.out;
  }

  SmallRun run;
};

}  // namespace

TEST_CASE("a text begins with its prompt and has so many characters more", "[commands]") {
  const Trained trained;
  const std::string text = trained.text({"--prompt", "the cat", "--max-new-tokens", "30"});
  CHECK(text.starts_with("the cat"));
  CHECK(text.size() == 7 + 30 + 1);
  CHECK(text.back() == '\n');
  CHECK(trained.text({"--prompt", "the cat", "--max-new-tokens", "0"}) == "the cat\n");
  // Longer than the context of 16.
  CHECK(
      trained.text({"--prompt", "the cat sat on a mat and ran", "--max-new-tokens", "4"}).size() ==
      28 + 4 + 1);
}

TEST_CASE("the prompt may be the standard input, or none", "[commands]") {
  const Trained trained;
  const std::string text = trained.text({"--prompt", "cat", "--max-new-tokens", "9"});
  CHECK(trained.text({"--max-new-tokens", "9"}, {.input = "cat"}) == text);
  CHECK(trained.text({"--max-new-tokens", "9"}, {.input = "\xEF\xBB\xBF"
                                                          "cat"}) == text);
  CHECK(trained.text({"--max-new-tokens", "9"}).size() == 9 + 1);
  CHECK(trained.text({"--max-new-tokens", "9"}, {.closed_stream = 0}).size() == 9 + 1);
  CHECK(trained.text({"--prompt", "", "--max-new-tokens", "9"}, {.input = "cat"}) ==
        trained.text({"--max-new-tokens", "9"}));
}

TEST_CASE("a seed decides the text; without temperature there is only one", "[commands]") {
  const Trained trained;
  const auto text = [&](std::vector<std::string> words) {
    words.insert(words.end(), {"--prompt", "a ", "--max-new-tokens", "60"});
    return trained.text(words);
  };
  CHECK(text({"--seed", "1"}) == text({"--seed", "1"}));
  CHECK(text({"--seed", "1"}) != text({"--seed", "2"}));
  CHECK(text({}) == text({"--seed", "0"}));
  const std::string greedy = text({"--temperature", "0"});
  CHECK(text({"--temperature", "0", "--seed", "5"}) == greedy);
  CHECK(text({"--top-k", "1", "--seed", "3"}) == greedy);
  CHECK(text({"--top-p", "0.000001", "--seed", "3"}) == greedy);
  CHECK(text({"--trainer.threads=2", "--seed", "1"}) == text({"--seed", "1"}));
}

TEST_CASE("JSON lines are answered in order with ids and the new text", "[commands]") {
  const Trained trained;
  const std::string out =
      trained.text({"--json", "--max-new-tokens", "5", "--temperature", "0"},
                   {.input = "\xEF\xBB\xBF{\"prompt\": \"the\"}\n\n{\"prompt\": \"a\"}"});
  const std::vector<std::string> lines = split(out, '\n');
  REQUIRE(lines.size() == 3);
  std::vector<nlohmann::json> answers;
  for (size_t i = 0; i < 2; ++i) {
    answers.push_back(nlohmann::json::parse(lines[i]));
    CHECK(answers[i].size() == 3);
    CHECK(answers[i].at("prompt_ids").size() == (i == 0 ? 3u : 1u));
    CHECK(answers[i].at("ids").size() == 5);
    CHECK(answers[i].at("text").get<std::string>().size() == 5);
  }
  const std::string one =
      trained.text({"--json", "--max-new-tokens", "5", "--temperature", "0", "--prompt", "the"});
  CHECK(nlohmann::json::parse(one) == answers[0]);
}

TEST_CASE("other keys of a line go into its answer, and a bad line has its error for one",
          "[commands]") {
  const Trained trained;
  const std::string input =
      "{\"id\": 12345678901234567890123, \"prompt\": \"the\"}\nno\n{\"id\": \"x\", \"Prompt\": "
      "1}\n\n"
      "{ \"meta\" : { \"a\": [1, \"},\"] } ,\"prompt\": \"a\", \"text\": 1, \"n\": 1.50 }\n"
      "{\"prompt\": \"Zebra\", \"id\": null}\n";
  for (const char* batch : {"1", "2", "16"}) {
    const Ended ended =
        trained.generate({"--json", "--max-new-tokens", "2", "--batch", batch}, {.input = input});
    CHECK(ended.code == 3);
    CHECK(ended.err ==
          "error: 3 records were not answered; the first: the record is not JSON at byte 2, behind "
          "\"no\"\n  at       standard input:2\n  hint     each record must be one JSON object\n");
    const std::vector<std::string> lines = split(ended.out, '\n');
    REQUIRE(lines.size() == 6);
    CHECK(lines[0].starts_with("{\"id\": 12345678901234567890123, \"prompt_ids\": ["));
    CHECK(lines[1] ==
          "{\"error\": \"the record is not JSON at byte 2, behind \\\"no\\\"\", \"line\": 2}");
    CHECK(lines[2] ==
          "{\"id\": \"x\", \"Prompt\": 1, \"error\": \"a line is no object with a "
          "\\\"prompt\\\"\", \"line\": 3}");
    CHECK(
        lines[3].starts_with("{\"meta\": { \"a\": [1, \"},\"] }, \"n\": 1.50, \"prompt_ids\": ["));
    CHECK(nlohmann::json::parse(lines[3]).at("text").get<std::string>().size() == 2);
    CHECK(lines[4].starts_with("{\"id\": null, \"error\": \"the character "));
  }
}

TEST_CASE("an answer is valid UTF-8, whatever the line's other keys hold", "[commands]") {
  const Trained trained;
  const std::string input = "{\"id\": \"caf\xE9\", \"prompt\": \"the\"}\n";
  const Ended ended = trained.generate({"--json", "--max-new-tokens", "2"}, {.input = input});
  CHECK(ended.code == 0);
  CHECK(nlohmann::json::parse(ended.out).at("id") == "caf\uFFFD");
}

TEST_CASE("a tokenizer may have tokens that the model does not know", "[commands]") {
  const SmallRun run;
  REQUIRE(run({"tokenizer", "train", "a.txt", "--vocab-size", "262", "--out", "tok"}).code == 0);
  REQUIRE(run.train({"--data.tokenizer={type = \"hf\", path = \"tok\"}"}).code == 0);
  REQUIRE(run({"export", "--checkpoint", "logs/run", "--out", "hf"}).code == 0);
  auto tokenizer = nlohmann::json::parse(read_file(run / "hf/tokenizer.json"));
  auto token = nlohmann::json{{"id", 262}, {"content", "<pad>"}, {"special", true}};
  for (const char* flag : {"lstrip", "rstrip", "normalized", "single_word"}) token[flag] = false;
  tokenizer["added_tokens"].push_back(token);
  write_file_atomic(run / "hf/tokenizer.json", tokenizer.dump());
  write_file_atomic(run / "lines.jsonl", "{\"text\": \"the\"}\n{\"text\": \"a <pad>\"}\n");
  const char* kFault = "the text has token 262, \"<pad>\", and the model knows 262 tokens";

  const Ended sound = run({"generate", "--checkpoint", "hf", "--prompt", "the cat"});
  CHECK(sound.code == 0);
  CHECK(sound.out.starts_with("the cat"));
  const Ended batch = run({"generate", "--checkpoint", "hf", "--json", "--batch", "4"},
                          {.input = "{\"prompt\": \"the\"}\n{\"prompt\": \"<pad>\"}\n"});
  CHECK(batch.code == 3);
  CHECK_THAT(batch.err, Catch::Contains(kFault) && Catch::Contains("standard input:2"));
  CHECK(nlohmann::json::parse(split(batch.out, '\n')[0]).contains("ids"));
  CHECK(nlohmann::json::parse(split(batch.out, '\n')[1]).at("line") == 2);
  const Ended scores = run({"eval", "--checkpoint", "hf", "--documents", "lines.jsonl"});
  CHECK(scores.code == 3);
  CHECK(nlohmann::json::parse(split(scores.out, '\n')[0]).contains("logprobs"));
  CHECK_THAT(scores.out, Catch::Contains("\"line\": 2"));

  const std::vector<std::string> losses = {
      "eval",     "--checkpoint", "hf",
      "--config", "run.toml",     "--data.tokenizer={type = \"hf\", path = \"hf\"}"};
  CHECK(run(losses).code == 0);
  write_file_atomic(run / "a.txt", read_file(run / "a.txt") + " on a <pad> mat");
  const Ended beyond = run(losses);
  CHECK(beyond.code == 3);
  CHECK_THAT(beyond.err, Catch::Contains(kFault) && Catch::Contains("words, behind ") &&
                             Catch::Contains(" on a "));
  // A run has to make room for it.
  const Ended trained =
      run.train({"--model={type = \"from_hf\", path = \"hf\"}",
                 "--data.tokenizer={type = \"hf\", path = \"hf\"}", "--trainer.id=more"});
  CHECK(trained.code == 2);
  CHECK_THAT(trained.err, Catch::Contains("less than the 263 tokens of the tokenizer") &&
                              Catch::Contains("set model.vocab_size = 263"));
}

TEST_CASE("a template that is named writes the chat", "[commands]") {
  const Trained trained;
  write_file_atomic(trained.run / "t.jinja", "{{ messages[0].content }} sat");
  const std::vector<std::string> words = {"--json", "--max-new-tokens", "3", "--prompt"};
  const auto answer = [&](std::vector<std::string> more) {
    more.insert(more.begin(), words.begin(), words.end());
    return trained.text(more);
  };
  CHECK(answer({"the cat", "--chat", "--chat-template", "t.jinja"}) == answer({"the cat sat"}));
  const Ended plain = trained.generate({"--prompt", "the", "--chat-template", "t.jinja"});
  CHECK(plain.code == 2);
  CHECK_THAT(plain.err, Catch::Contains("--chat-template has no place in a plain text"));
}

TEST_CASE("a stop id ends the text before itself", "[commands]") {
  const Trained trained;
  const auto answer = [&](std::vector<std::string> words) {
    words.insert(words.end(), {"--json", "--prompt", "the", "--max-new-tokens", "40"});
    return nlohmann::json::parse(trained.text(words)).at("ids").get<std::vector<int>>();
  };
  const std::vector<int> all = answer({});
  REQUIRE(all.size() == 40);
  const int stop = all[20];
  const auto end = std::find(all.begin(), all.end(), stop);
  CHECK(answer({"--stop-id", cat(stop)}) == std::vector<int>(all.begin(), end));
}

TEST_CASE("text that ends inside a character is still JSON", "[commands]") {
  const SmallRun run;
  REQUIRE(run.train({"--data.tokenizer.type=bytes", "--trainer.num_train_steps=1"}).code == 0);
  const Ended ended = run({"generate", "--checkpoint", "logs/run", "--json", "--prompt", "\xff",
                           "--max-new-tokens", "50"});
  CHECK(ended.code == 0);
  const auto answer = nlohmann::json::parse(ended.out);  // throws on bytes that are not UTF-8
  CHECK(answer.at("prompt_ids") == nlohmann::json{255});
  CHECK(answer.at("ids").size() == 50);
}

TEST_CASE("ids that the tokenizer does not have are never drawn", "[commands]") {
  const SmallRun run;
  REQUIRE(run.train({"--data.tokenizer={type = \"bytes\"}", "--model.vocab_size=2000",
                     "--trainer.num_train_steps=1"})
              .code == 0);
  const Ended ended = run({"generate", "--checkpoint", "logs/run", "--temperature", "100",
                           "--max-new-tokens", "100", "--json", "--prompt", "a"});
  INFO(ended.err);
  REQUIRE(ended.code == 0);
  const auto answer = nlohmann::json::parse(ended.out);
  CHECK(answer.at("ids").size() == 100);
  for (const auto& id : answer.at("ids")) CHECK(id < 257);
}

TEST_CASE("a text ends before the first of the stop texts", "[commands]") {
  const Trained trained;
  const std::vector<std::string> words = {"--prompt", "the", "--max-new-tokens", "60"};
  const std::string all = trained.text(words).substr(3);
  const auto stopped = [&](std::vector<std::string> more) {
    more.insert(more.end(), words.begin(), words.end());
    return trained.text(more).substr(3);
  };
  const std::string stop = all.substr(20, 2), other = all.substr(30, 3);
  const size_t end = std::min(all.find(stop), all.find(other));
  CHECK(stopped({"--stop", stop, "--stop", other}) == all.substr(0, end) + "\n");
  CHECK(stopped({"--stop", "no such text"}) == all);
  const auto answer = nlohmann::json::parse(
      trained.text({"--stop", stop, "--json", "--prompt", "the", "--max-new-tokens", "60"}));
  CHECK(answer.at("text") == all.substr(0, all.find(stop)));
}

TEST_CASE("a stop text may begin with a blank, and may be the model's own", "[commands]") {
  const std::string stories = shared_data("models/stories260K");
  if (stories.empty()) {
    WARN("skipped: the shared data are absent");
    return;
  }
  const TemporaryFolder folder;
  for (const char* name :
       {"config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"})
    write_file_atomic(folder / name, read_all(join_path(stories, name)));
  const auto text = [&](std::vector<std::string> words) {
    words.insert(words.begin(), {"generate", "--checkpoint", folder.path(), "--temperature", "0",
                                 "--max-new-tokens", "12", "--prompt", "Once upon"});
    const Ended ended = run_program(words);
    CHECK(ended.err == "");
    return ended.out;
  };
  const auto answer = [&](std::vector<std::string> words) {
    words.push_back("--json");
    return nlohmann::json::parse(text(words)).at("text").get<std::string>();
  };
  const std::string all = text({});
  REQUIRE(all.starts_with("Once upon a time"));
  CHECK(answer({}).starts_with("a time"));  // as its ids decode
  CHECK(text({"--stop", " a"}) == "Once upon\n");
  CHECK(answer({"--stop", " a"}).empty());
  CHECK(answer({"--stop", " time"}) == "a");
  write_file_atomic(folder / "generation_config.json", R"({"stop_strings": [" time"]})");
  CHECK(answer({}) == "a");
  CHECK(text({}) == "Once upon a\n");
  CHECK(answer({"--stop_strings=[]"}).starts_with("a time"));
}

TEST_CASE("samples are drawn by their number, whatever is beside them", "[commands]") {
  const Trained trained;
  const auto lines = [&](std::vector<std::string> words) {
    words.insert(words.end(), {"--json", "--logprobs", "--max-new-tokens", "25"});
    return trained.text(words, {.input = "{\"prompt\": \"the\"}\n{\"prompt\": \"a cat\"}\n"});
  };
  const std::string three = lines({"--samples", "3"});
  CHECK(lines({"--samples", "3", "--batch", "16"}) == three);
  CHECK(lines({"--samples", "3", "--batch", "2", "--trainer.threads=2"}) == three);
  const std::vector<std::string> texts = split(three, '\n');
  REQUIRE(texts.size() == 7);
  std::vector<nlohmann::json> answers;
  for (size_t i = 0; i < 6; ++i) {
    answers.push_back(nlohmann::json::parse(texts[i]));
    CHECK(answers[i].at("sample") == i % 3);
    CHECK(answers[i].at("logprobs").size() == answers[i].at("ids").size());
    for (const double logprob : answers[i].at("logprobs")) CHECK(logprob < 0);
  }
  CHECK(answers[0].at("ids") != answers[1].at("ids"));
  auto first = nlohmann::json::parse(split(lines({}), '\n')[0]);
  first["sample"] = 0;
  CHECK(first == answers[0]);
  // Plain texts come one after the other.
  const std::string plain =
      trained.text({"--samples", "2", "--prompt", "the", "--max-new-tokens", "25"});
  CHECK(plain == cat("the", answers[0].at("text").get<std::string>(), "\nthe",
                     answers[1].at("text").get<std::string>(), "\n"));
}

TEST_CASE("what stands around a bad line is answered", "[commands]") {
  const Trained trained;
  const Ended ended =
      trained.generate({"--json", "--batch", "4", "--max-new-tokens", "3"},
                       {.input = "{\"prompt\": \"the\"}\nthe\n{\"prompt\": \"a\"}\n"});
  CHECK(ended.code == 3);
  CHECK(split(ended.out, '\n').size() == 4);
  CHECK_THAT(ended.err, Catch::Contains("standard input:2"));
}

TEST_CASE("a chat goes through the model's template", "[commands]") {
  const std::string stories = shared_data("models/stories260K");
  if (stories.empty()) {
    WARN("skipped: the shared data are absent");
    return;
  }
  const TemporaryFolder folder;
  for (const char* name : {"config.json", "model.safetensors", "tokenizer.json"})
    write_file_atomic(folder / name, read_all(join_path(stories, name)));
  auto config = nlohmann::json::parse(read_all(join_path(stories, "tokenizer_config.json")));
  config["chat_template"] =
      "{% for m in messages %}{{ m.role }}: {{ m.content }} {% endfor %}"
      "{% if add_generation_prompt %}assistant:{% endif %}";
  write_file_atomic(folder / "tokenizer_config.json", config.dump());
  const auto ids = [&](std::vector<std::string> words, const std::string& input = "") {
    words.insert(words.begin(), {"generate", "--checkpoint", folder.path(), "--json",
                                 "--max-new-tokens", "4", "--temperature", "0"});
    const Ended ended = run_program(words, {.input = input});
    INFO(ended.err);
    REQUIRE(ended.code == 0);
    return nlohmann::json::parse(ended.out).at("prompt_ids");
  };
  auto plain = ids({"--prompt", "user: hello assistant:"});
  plain.erase(plain.begin());  // BOS, which is the template's to write
  CHECK(ids({"--chat", "--prompt", "hello"}) == plain);
  CHECK(ids({"--chat"}, "{\"prompt\": \"hello\"}") == plain);
  CHECK(ids({"--chat"}, "{\"messages\": [{\"role\": \"user\", \"content\": \"hello\"}]}") == plain);
  // A line may have more variables for the template.
  config["chat_template"] = cat(config["chat_template"].get<std::string>(), "{{ mood }}");
  write_file_atomic(folder / "tokenizer_config.json", config.dump());
  auto merry = ids({"--prompt", "user: hello assistant:merry"});
  merry.erase(merry.begin());
  const std::string mood = ", \"chat_template_kwargs\": {\"mood\": \"merry\"}}";
  CHECK(ids({"--chat"}, "{\"prompt\": \"hello\"" + mood) == merry);
  CHECK(ids({"--chat"}, "{\"messages\": [{\"role\": \"user\", \"content\": \"hello\"}]" + mood) ==
        merry);
  CHECK(ids({"--chat"}, "{\"prompt\": \"hello\"}") == plain);
}

TEST_CASE("a text ends where generation_config.json says, else config.json", "[commands]") {
  const std::string stories = shared_data("models/stories260K");
  if (stories.empty()) {
    WARN("skipped: the shared data are absent");
    return;
  }
  const TemporaryFolder folder;
  for (const char* name :
       {"config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"})
    write_file_atomic(folder / name, read_all(join_path(stories, name)));
  const SmallRun run;
  const auto ids = [&] {
    const Ended ended = run({"generate", "--checkpoint", folder.path(), "--json", "--temperature",
                             "0", "--max-new-tokens", "9", "--prompt", ""});
    CHECK(ended.err == "");
    return nlohmann::json::parse(ended.out)["ids"].get<std::vector<int>>();
  };
  const std::vector<int> all = ids();
  REQUIRE(all.size() == 9);
  const auto ending_at = [&](const std::string& end) {
    write_file_atomic(folder / "generation_config.json", "{\"eos_token_id\": " + end + "}");
    return ids();
  };
  auto config = nlohmann::json::parse(read_all(folder / "config.json"));
  config["eos_token_id"] = all[4];
  write_file_atomic(folder / "config.json", config.dump());
  CHECK(ids() == std::vector(all.begin(), all.begin() + 4));
  CHECK(ending_at("null") == std::vector(all.begin(), all.begin() + 4));
  CHECK(ending_at(cat("[2, ", all[5], "]")) == std::vector(all.begin(), all.begin() + 5));
  CHECK(ending_at(cat(all[3])) == std::vector(all.begin(), all.begin() + 3));
}

TEST_CASE("settings of generation that are not applied are named once", "[commands]") {
  const SmallRun run;
  REQUIRE(run({"tokenizer", "train", "a.txt", "--vocab-size", "262", "--out", "tok"}).code == 0);
  REQUIRE(run.train({"--data.tokenizer={type = \"hf\", path = \"tok\"}"}).code == 0);
  REQUIRE(run({"export", "--checkpoint", "logs/run", "--out", "hf"}).code == 0);
  const auto told = [&](std::vector<std::string> more) {
    std::vector<std::string> words = {"generate", "--checkpoint", "hf", "--prompt",
                                      "the",      "--samples",    "2",  "--max-new-tokens",
                                      "2"};
    words.insert(words.end(), more.begin(), more.end());
    const Ended ended = run(words);
    CHECK(ended.code == 0);
    return ended.err;
  };
  const auto write = [&](const char* name, const nlohmann::json& settings) {
    const std::string file = run / cat("hf/", name);
    auto config = nlohmann::json::object();
    if (path_exists(file)) config = nlohmann::json::parse(read_file(file));
    config.update(settings);
    write_file_atomic(file, config.dump());
  };
  write("config.json", {{"no_repeat_ngram_size", 3}});  // where files of old have it
  CHECK_THAT(told({}),
             Catch::Contains("config.json: not applied here: no_repeat_ngram_size = 3\n"));
  write("generation_config.json", {{"repetition_penalty", 1.0},
                                   {"suppress_tokens", nullptr},
                                   {"bad_words_ids", nlohmann::json::array()},
                                   {"min_length", 0},
                                   {"do_sample", true},
                                   {"temperature", 0.6}});
  CHECK(told({}).find("not applied") == std::string::npos);
  write("generation_config.json", {{"repetition_penalty", 1.5},
                                   {"min_new_tokens", 4},
                                   {"suppress_tokens", {3}},
                                   {"forced_eos_token_id", 2}});
  CHECK_THAT(
      told({}),
      Catch::Contains("generation_config.json: not applied here: forced_eos_token_id = 2, "
                      "min_new_tokens = 4, repetition_penalty = 1.5, suppress_tokens = [3]\n"));
  CHECK_THAT(told({"--repetition-penalty", "1.5"}),
             Catch::Contains("min_new_tokens = 4, suppress_tokens = [3]\n"));
}

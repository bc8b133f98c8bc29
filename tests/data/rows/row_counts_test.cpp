// Counts of documents that are cut, dropped and learned, and where one that is too long stands.
#include "data/rows/row_counts.h"

#include <catch2/catch.hpp>

#include <nlohmann/json.hpp>

#include "base/files.h"
#include "base/strings.h"
#include "support/program.h"

using namespace levanter;
using namespace levanter::data;
using namespace levanter::testing;

namespace {

/// Documents of so many tokens, of which every second is learned.
std::shared_ptr<TokenStream> stream_of(const std::vector<size_t>& lengths) {
  auto stream = std::make_shared<TokenStream>(256);
  for (const size_t length : lengths) {
    std::vector<float> weights(length);
    for (size_t i = 1; i < length; i += 2) weights[i] = 0.5f;
    stream->append(std::vector<int32_t>(length), weights);
  }
  return stream;
}

/// Records whose prompt has 10 bytes and whose answers have these many.
std::string records(const std::vector<size_t>& answers) {
  std::string lines;
  for (const size_t n : answers)
    lines += cat("{\"prompt\": \"", std::string(10, 'p'), "\", \"response\": \"",
                 std::string(n, 'r'), "\"}\n");
  return lines;
}

/// A run on such records, packed in rows of 16.
struct Packed {
  explicit Packed(const std::string& component) {
    write_file_atomic(
        run / "packed.toml",
        cat("include = [\"run.toml\"]\n[data]\ntokenizer = \"bytes\"\n"
            "[data.components.words]\nformat.type = \"supervised\"\npack = \"greedy\"\n",
            component, "\n[trainer]\nnum_train_steps = 2\n"));
  }
  Ended train(std::vector<std::string> words = {}) const {
    words.insert(words.begin(), {"train", "--config", "packed.toml"});
    return run(std::move(words));
  }
  SmallRun run;
};

constexpr char kOwnFiles[] =
    "train = [\"t.jsonl\"]\nvalidation = [\"v.jsonl\"]\nvalidation_fraction = \"none\"";

}  // namespace

TEST_CASE("documents are counted by what their rows hold of them", "[data]") {
  const auto stream = stream_of({4, 9, 1, 20, 9});
  RowSpec packed{.pack = PackOptions{.too_long = TooLong::kKeepHead}};
  RowCounts n = count_documents(*stream, packed, 8);
  CHECK(n.documents == 5);
  CHECK(n.cut == 1);
  CHECK(n.dropped == 0);
  CHECK(n.tokens == 4 + 9 + 9 + 9);  // the one of a single token is in no row
  CHECK(n.learned == 2 + 4 + 4 + 4);
  packed.pack->too_long = TooLong::kKeepTail;
  CHECK(count_documents(*stream, packed, 8).learned == 2 + 4 + 4 + 4);
  packed.pack->too_long = TooLong::kDrop;
  n = count_documents(*stream, packed, 8);
  CHECK(n.cut == 0);
  CHECK(n.dropped == 1);
  CHECK(n.tokens == 4 + 9 + 9);
  CHECK(n.learned == 2 + 4 + 4);
  n = count_documents(*stream, {}, 8);
  CHECK(n.tokens == 43);
  CHECK(n.learned == 20);
}

TEST_CASE("counts are told in a line where there is something to tell", "[data]") {
  ComponentCounts c{"chats", "chat", true, true, {{96, 0, 0, 165'167, 100'683}, 178, 210}, {}};
  using Lines = std::vector<std::string>;
  CHECK(describe(c) ==
        Lines{"chats/train: 178 chats, 96 cut, 61 % of 165,167 tokens learned, 210 rows"});
  c.validation = {{0, 3, 0, 100, 50}, 20, 1};
  CHECK(describe(c).at(1) ==
        "chats/validation: 20 chats, 3 dropped, 50 % of 100 tokens learned, 1 row");
  c.train.empty_rows = 12;
  CHECK(describe(c).at(0).ends_with("learned, 210 rows, 12 without a target"));
  CHECK(describe({"text", "document", false, false, {{0, 0, 0, 1000, 1000}, 1, 15}, {}}) ==
        Lines{});
}

TEST_CASE("a run says what was cut and how much is learned", "[data]") {
  const Packed packed(cat(kOwnFiles, "\ntoo_long = \"keep_head\""));
  write_file_atomic(packed.run / "t.jsonl", records({5, 5, 30, 5}));
  write_file_atomic(packed.run / "v.jsonl", records({5, 30}));
  const Ended ended = packed.train();
  INFO(ended.err);
  REQUIRE(ended.code == 0);
  CHECK_THAT(ended.err,
             Catch::Contains("words/train: 4 documents, 1 cut, 35 % of 62 tokens learned, 4 rows\n"
                             "words/validation: 2 documents, 1 cut, 38 % of 32 tokens learned, 2 "
                             "rows\n"));
  const auto summary = nlohmann::json::parse(read_file(packed.run / "logs/packed/summary.json"));
  CHECK(summary.at("dataset/words/documents") == 4);
  CHECK(summary.at("dataset/words/cut_documents") == 1);
  CHECK(summary.at("dataset/words/learned_tokens") == 22);
  CHECK(summary.at("dataset/epoch_rows") == 4);
  CHECK(summary.at("dataset/epoch_steps") == 1);
}

TEST_CASE("a run of which nothing would be learned ends before its first step", "[data]") {
  // The prompt of 10 bytes and its answer: the first row of 17 tokens ends within the prompt.
  const Packed packed(cat(kOwnFiles, "\ntoo_long = \"keep_head\"\nformat.separate_with = \"",
                          std::string(20, '-'), "\""));
  write_file_atomic(packed.run / "t.jsonl", records({5, 5}));
  write_file_atomic(packed.run / "v.jsonl", records({5}));
  const Ended ended = packed.train();
  CHECK(ended.code == 3);
  CHECK_THAT(ended.err, Catch::Contains("no token of words/train is a target: nothing of its 2 "
                                        "documents would be learned") &&
                            Catch::Contains("keep_tail"));
  CHECK(packed.train({"--data.components.words.too_long=keep_tail"}).code == 0);
  // One that is left is learned from, and the others are told of.
  const Packed some(cat(kOwnFiles, "\ntoo_long = \"keep_head\""));
  write_file_atomic(some.run / "t.jsonl", cat("{\"prompt\": \"", std::string(40, 'p'),
                                              "\", \"response\": \"r\"}\n", records({5})));
  write_file_atomic(some.run / "v.jsonl", records({5}));
  CHECK_THAT(some.train().err, Catch::Contains("words/train: 2 documents, 1 with nothing to learn "
                                               "left out, 33 % of 15 tokens learned, 1 row"));
  const auto summary = nlohmann::json::parse(read_file(some.run / "logs/packed/summary.json"));
  CHECK(summary.at("dataset/words/unlearned_documents") == 1);
}

TEST_CASE("a document that does not fit a row is named by part, file and line", "[data]") {
  const Packed packed(kOwnFiles);
  const auto error = [&](const Ended& ended) {
    CHECK(ended.code == 3);
    return packed.run.shorten(ended.err.substr(ended.err.find("error: ")));
  };
  constexpr char kHint[] =
      "  hint     raise model.max_seq_len, or say with data.components.words.too_long which part "
      "to keep\n";
  write_file_atomic(packed.run / "t.jsonl", cat("\n", records({5, 5, 30, 5})));
  write_file_atomic(packed.run / "v.jsonl", records({5, 8, 9}));
  CHECK(error(packed.train()) ==
        cat("error: a document to train on has more tokens than a row of 17 (the sequence length "
            "and one); it has 40\n  at       <folder>/t.jsonl:4\n",
            kHint));
  write_file_atomic(packed.run / "t.jsonl", records({5, 5}));
  for (const char* cache : {"--data.cache_dir=cache", "--data.cache_dir=cache", "--trainer.seed=1"})
    CHECK(error(packed.train({cache})) ==
          cat("error: 2 of 3 documents to validate on have more tokens than a row of 17 (the "
              "sequence length and one); the first has 18\n  at       <folder>/v.jsonl:2\n",
              kHint));
  // The end of the training text: its line is counted from the beginning.
  write_file_atomic(packed.run / "t.jsonl", records({5, 5, 5, 5, 30}));
  CHECK(error(packed.train({"--data.components.words.validation=[]",
                            "--data.components.words.validation_fraction=0.45"})) ==
        cat("error: a document to validate on has more tokens than a row of 17 (the sequence "
            "length and one); it has 40\n  at       <folder>/t.jsonl:5\n",
            kHint));
}

TEST_CASE("windows count as learned what follows a token of its document", "[data]") {
  auto stream = std::make_shared<TokenStream>(256);
  for (const size_t length : {4, 5}) stream->append(std::vector<int32_t>(length));
  CHECK(count_documents(*stream, {}, 4).learned == 3 + 4);
  CHECK(count_documents(*stream, {.borders = {.crosses = true}}, 4).learned == 3 + 5);
}

TEST_CASE("a run says in how many windows there is nothing to learn, and what it did not read",
          "[data]") {
  const SmallRun run;
  write_file_atomic(run / "windows.toml",
                    "include = [\"run.toml\"]\n[data]\ntokenizer = \"bytes\"\n"
                    "on_bad_record = \"skip\"\ncache_dir = \"cache\"\n"
                    "[data.components.words]\nformat.type = \"supervised\"\n"
                    "train = [\"t.jsonl\"]\nvalidation = [\"v.jsonl\"]\n"
                    "validation_fraction = \"none\"\n[trainer]\nnum_train_steps = 2\n");
  // Windows of 16 targets: of 100 bytes of a prompt, whole ones are left without any.
  write_file_atomic(run / "t.jsonl",
                    cat("{\"prompt\": \"", std::string(100, 'p'),
                        "\", \"response\": \"rr\\ud83d\"}\n{\"prompt\": 1}\n", records({40, 40})));
  write_file_atomic(run / "v.jsonl", records({40}));
  for (int start = 0; start < 2; ++start) {  // the second finds the cache
    const std::string id = cat("try", start);
    const Ended ended = run({"train", "--config", "windows.toml", cat("--trainer.id=", id)});
    INFO(ended.err);
    REQUIRE(ended.code == 0);
    CHECK_THAT(ended.err, Catch::Contains(" without a target"));
    CHECK_THAT(ended.err, Catch::Contains("1 piece of text was no UTF-8 and became U+FFFD"));
    const auto summary = nlohmann::json::parse(read_file(run / cat("logs/", id, "/summary.json")));
    CHECK(summary.at("dataset/words/empty_rows") >= 4);
    CHECK(summary.at("dataset/words/bad_records") == 1);
    CHECK(summary.at("dataset/words/replaced_texts") == 1);
  }
}

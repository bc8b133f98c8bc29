// `levanter tokenizer train`: a vocabulary from text, the same files every time.
#include <catch2/catch.hpp>

#include "base/files.h"
#include "base/strings.h"
#include "support/program.h"
#include "text/tokenizer.h"

using namespace levanter;
using namespace levanter::testing;

TEST_CASE("tokenizer train writes a folder that tokenize reads", "[commands]") {
  TemporaryFolder folder;
  std::string text;
  for (int i = 0; i < 40; ++i) text += "low lower lowest newer newest wider\n";
  write_file_atomic(folder / "a.txt", text);
  const std::vector<std::string> words = {"tokenizer", "train", "a.txt", "--vocab-size", "280",
                                          "--out",     "one",   "--eos", "<|end|>"};
  const Ended ended = run_program(words, {.folder = folder.path()});
  CHECK(ended.err == "");
  CHECK(ended.code == 0);
  const std::string merges = read_file(folder / "one/merges.txt");
  // The same merges as HF's ByteLevelBPETokenizer (0.23) learns.
  CHECK(merges.starts_with("#version: 0.2\nw e\nl o\ne we\nn ewe\n"));

  std::vector<std::string> again = words;
  again[6] = "two";
  CHECK(run_program(again, {.folder = folder.path()}).code == 0);
  for (const char* name : {"tokenizer.json", "vocab.json", "merges.txt", "tokenizer_config.json"})
    CHECK(read_file(folder / cat("one/", name)) == read_file(folder / cat("two/", name)));

  const auto tokenizer = text::open_tokenizer(folder / "one");
  CHECK(tokenizer->eos_id() == 0);
  CHECK(tokenizer->decode(tokenizer->encode({text, "text"})) == text);
  CHECK(tokenizer->encode({text, "text"}).size() < text.size() / 3);
  CHECK(tokenizer->encode({"<|end|>", "text"}) == std::vector<int32_t>{0});
  // vocab.json and merges.txt alone say the same.
  remove_tree(folder / "two/tokenizer.json");
  CHECK(text::open_tokenizer(folder / "two")->encode({text, "text"}) ==
        tokenizer->encode({text, "text"}));
}

TEST_CASE("tokenizer train says what it needs", "[commands]") {
  CHECK(run_program({"tokenizer", "--vocab-size", "300", "--out", "x"}).code == 2);
  const Ended none = run_program({"tokenizer", "train", "--vocab-size", "300", "--out", "x"});
  CHECK(none.code == 2);
  CHECK_THAT(none.err, Catch::Contains("there is no text to learn from"));
  const Ended few = run_program({"tokenizer", "train", "a", "--vocab-size", "10", "--out", "x"});
  CHECK(few.code == 2);
}

TEST_CASE("tokenizer train learns from the texts of records, and from nothing that is no text",
          "[commands]") {
  TemporaryFolder folder;
  write_file_atomic(folder / "a.txt", "low low low lower");
  write_file_atomic(folder / "a.jsonl", "{\"text\": \"low low low lower\", \"score\": NaN}\n");
  write_file_atomic(folder / "a.txt.xz", std::string("\xFD"
                                                     "7zXZ\0\0",
                                                     7));
  const auto train = [&](const char* file, const char* out) {
    return run_program({"tokenizer", "train", file, "--vocab-size", "260", "--out", out},
                       {.folder = folder.path()});
  };
  REQUIRE(train("a.txt", "text").code == 0);
  REQUIRE(train("a.jsonl", "records").code == 0);
  CHECK(read_file(folder / "text/merges.txt") == read_file(folder / "records/merges.txt"));
  // What is no UTF-8 is replaced, as in the texts of a run.
  write_file_atomic(folder / "b.txt", "\xFF low \xFF low\xEF\xBF\xBD");
  write_file_atomic(folder / "b.jsonl", "{\"text\": \"\\ud800 low \\udfff low\xEF\xBF\xBD\"}\n");
  for (const char* file : {"b.txt", "b.jsonl"}) {
    const Ended broken = train(file, file[2] == 't' ? "text" : "records");
    CHECK(broken.code == 0);
    CHECK(broken.err == "U+FFFD stands for 2 pieces of text that is no UTF-8\n");
  }
  CHECK(read_file(folder / "text/merges.txt") == read_file(folder / "records/merges.txt"));
  const Ended packed = train("a.txt.xz", "none");
  CHECK(packed.code == 3);
  CHECK_THAT(packed.err, Catch::Contains("packed with xz"));
}

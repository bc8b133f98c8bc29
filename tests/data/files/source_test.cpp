// Records of text, JSON lines and JSON files, where they stand, and files that are cut or too long.
#include "data/files/source.h"

#include <fcntl.h>
#include <unistd.h>

#include <catch2/catch.hpp>

#include <chrono>

#include "base/files.h"
#include "base/strings.h"
#include "support/compress.h"
#include "support/fault.h"
#include "support/shared_data.h"
#include "support/temporary_folder.h"

using namespace levanter;
using namespace levanter::data;
using namespace levanter::testing;

namespace {

/// Each record as "LINE content".
std::vector<std::string> records(const std::string& path, RecordOptions options = {}) {
  std::vector<std::string> out;
  RecordReader reader(path, options);
  while (const auto record = reader.next()) out.push_back(cat(record->line, " ", record->content));
  CHECK_FALSE(reader.next());
  return out;
}

using Records = std::vector<std::string>;

}  // namespace

TEST_CASE("JSON lines give a record a line, blank lines none", "[data]") {
  const TemporaryFolder folder;
  const std::string text = "\xEF\xBB\xBF{\"a\": 1}\r\n\n  \t\n{\"a\": 2}\n{\"a\"";
  const Records wanted = {"1 {\"a\": 1}", "4 {\"a\": 2}", "5 {\"a\""};
  write_file_atomic(folder / "a.jsonl", text);
  CHECK(records(folder / "a.jsonl") == wanted);
  write_file_atomic(folder / "a.jsonl.gz", gzip(text));
  CHECK(records(folder / "a.jsonl.gz") == wanted);
  write_file_atomic(folder / "a.ndjson.zst", zstd(text));
  CHECK(records(folder / "a.ndjson.zst") == wanted);
  write_file_atomic(folder / "empty.jsonl", "");
  CHECK(records(folder / "empty.jsonl").empty());
}

TEST_CASE("lines longer than the reader's first buffer are whole", "[data]") {
  const TemporaryFolder folder;
  std::string text;
  Records wanted;
  for (const size_t size : {10u, 3'000'000u, 5u, 1'048'576u, 1'048'575u, 900'000u, 2u}) {
    const std::string line(size, static_cast<char>('a' + wanted.size()));
    text += line + "\n";
    wanted.push_back(cat(wanted.size() + 1, " ", line));
  }
  write_file_atomic(folder / "a.jsonl", text);
  CHECK(records(folder / "a.jsonl") == wanted);
}

TEST_CASE("what a file holds decides its form, and a suffix in whatever case", "[data]") {
  const TemporaryFolder folder;
  const auto of = [&](const std::string& name, std::string_view content) {
    write_file_atomic(folder / name, content);
    return records(folder / name);
  };
  const Records two = {"1 {\"text\": \"one\"}", "2 {\"text\": \"two\"}"};
  const std::string lines = "{\"text\": \"one\"}\n{\"text\": \"two\"}\n";
  for (const char* name : {"A.JSONL", "a.jsonlines", "a.ndjson", "a.Json", "a.txt", "a.data",
                           "a.jsonl.part", "a.jsonl-00000-of-00002"})
    CHECK(of(name, lines) == two);
  CHECK(of("A.JSONL.GZ", gzip(lines)) == two);
  const std::string array = "[{\"text\": \"one\"},\n{\"text\": \"two\"}]";
  for (const char* name : {"a.jsonl", "a.json", "a.txt"}) CHECK(of(name, array) == two);
  CHECK(of("a.jsonl", "{\n\"a\": 1\n}\n") == Records{"1 {\n\"a\": 1\n}"});
  // A line that is cut is a bad record of its own, not the beginning of a longer one.
  CHECK(of("a.jsonl", "{\"a\": 1,\n{}\n") == Records{"1 {\"a\": 1,", "2 {}"});
  for (const char* text : {"{\"so it goes\"} he said\n", "[{x}]\n", "{\"a\": 1, and so on\n"})
    CHECK(of("a.txt", text) == Records{cat("1 ", text)});
}

TEST_CASE("a JSON file gives the elements of its array, or its objects", "[data]") {
  const TemporaryFolder folder;
  const std::string path = folder / "a.json";
  const auto of = [&](std::string_view text) {
    write_file_atomic(path, text);
    return records(path);
  };
  CHECK(of("[]") == Records{});
  CHECK(of("") == Records{});
  CHECK(of(" [ {\"a\": \"]}\\\"\"},\n {\"b\": [1, {}]}\n, 3, \"x,y\", [1]]\n") ==
        Records{"1 {\"a\": \"]}\\\"\"}", "2 {\"b\": [1, {}]}", "3 3", "3 \"x,y\"", "3 [1]"});
  CHECK(of("{\"a\":\n1}") == Records{"1 {\"a\":\n1}"});
  CHECK(of("{\"a\":1}\n{\"a\":2}\n") == Records{"1 {\"a\":1}", "2 {\"a\":2}"});

  std::string many = "[";
  Records wanted;
  for (int i = 0; i < 30'000; ++i) {
    const std::string one =
        cat("{\"text\": \"", std::string(static_cast<size_t>(i % 97), 'x'), "\"}");
    many += cat(i > 0 ? ",\n" : "", one);
    wanted.push_back(cat(i + 1, " ", one));
  }
  CHECK(of(many + "]") == wanted);
}

TEST_CASE("a JSON file that is cut or broken is refused at its line", "[data]") {
  const TemporaryFolder folder;
  const std::string path = folder / "a.json";
  const auto error = [&](std::string_view text) {
    write_file_atomic(path, text);
    return failure_of(ErrorKind::kData, [&] { records(path); });
  };
  const auto wanted = [&](std::string_view what, int line) {
    return cat(
        "error: ", what, "\n  at       ", path, ":", line,
        "\n  hint     a .json file holds an array of objects, or objects one after the other");
  };
  constexpr char kCut[] = "the file is cut: it ends inside its JSON array";
  CHECK(error("[{\"a\": 1},\n{\"a\": ") ==
        wanted("the file is cut: it ends inside a JSON value that begins here", 2));
  CHECK(error("[{\"a\": 1}\n") == wanted(kCut, 2));
  CHECK(error("[{\"a\": 1},\n") == wanted(kCut, 2));
  CHECK(error("[") == wanted(kCut, 1));
  CHECK(error("[1 2]") == wanted("a comma or ] should stand before \"2\"", 1));
  CHECK(error("[1,\n]") == wanted("a JSON value should stand before \"]\"", 2));
  CHECK(error("[1]\n x") == wanted("something stands after the JSON array", 2));
}

TEST_CASE("a text is one record, or one a line", "[data]") {
  const TemporaryFolder folder;
  write_file_atomic(folder / "a.txt", "one\n\ntwo\r\nthree");
  CHECK(records(folder / "a.txt") == Records{"1 one\n\ntwo\r\nthree"});
  CHECK(records(folder / "a.txt", {.form = RecordForm::kTextLines}) ==
        Records{"1 one", "2 ", "3 two", "4 three"});
  write_file_atomic(folder / "empty.txt", "");
  CHECK(records(folder / "empty.txt").empty());
}

TEST_CASE("a text that begins with a record as Python reads them is records", "[data]") {
  const TemporaryFolder folder;
  const std::string long_one = cat(R"({"text": ")", std::string(1'200'000, 'a'), "\"}");
  for (const std::string& first :
       {std::string(R"({"text": "a", "score": NaN})"), std::string(R"({"text": "\ud83d"})"),
        std::string("{\"text\": \"\xff\"}"), long_one}) {
    INFO(first.substr(0, 40));
    write_file_atomic(folder / "a.txt", first + "\n{\"text\": \"b\"}\n");
    CHECK(records(folder / "a.txt").size() == 2);
  }
  write_file_atomic(folder / "a.txt", "{\"no\" json}\nmore\n");
  CHECK(records(folder / "a.txt").size() == 1);
}

TEST_CASE("a record over the limit is refused, one of just that length is not", "[data]") {
  const TemporaryFolder folder;
  const std::string path = folder / "a.jsonl";
  write_file_atomic(path, cat("[1]\n", std::string(2000, 'x'), "\n"));
  for (const RecordForm form : {RecordForm::kJsonLines, RecordForm::kTextLines})
    CHECK(
        failure_of(ErrorKind::kData,
                   [&] { records(path, {.form = form, .max_record_bytes = 1999}); }) ==
        cat("error: the record is longer than the limit\n  at       ", path,
            ":2\n  allowed  at most 1,999 bytes a record\n  hint     cut it into several records, "
            "or check that the file has line ends"));
  CHECK(records(path, {.max_record_bytes = 2000}).size() == 2);
  write_file_atomic(path, cat("\"", std::string(2000, 'x'), "\""));
  for (const RecordForm form : {RecordForm::kText, RecordForm::kJson})
    CHECK_THAT(failure_of(ErrorKind::kData,
                          [&] { records(path, {.form = form, .max_record_bytes = 1999}); }),
               Catch::Contains("longer than the limit"));
}

TEST_CASE("a record names its file and line", "[data]") {
  const TemporaryFolder folder;
  write_file_atomic(folder / "a.jsonl", "\n{}\n");
  RecordReader reader(folder / "a.jsonl");
  const auto record = reader.next();
  REQUIRE(record);
  CHECK(record->origin() == folder / "a.jsonl" + ":2");
}

TEST_CASE("the standard input and a file without a suffix are read by what they begin with",
          "[data]") {
  const TemporaryFolder folder;
  const auto of = [&](std::string_view content) {
    write_file_atomic(folder / "in", content);
    const Records named = records(folder / "in");
    const int before = ::dup(STDIN_FILENO);
    const int file = ::open((folder / "in").c_str(), O_RDONLY);
    ::dup2(file, STDIN_FILENO);
    const Records found = records("-");
    ::dup2(before, STDIN_FILENO);
    ::close(file);
    ::close(before);
    CHECK(found == named);
    return found;
  };
  CHECK(of("{\"a\": 1}\n{}\n") == Records{"1 {\"a\": 1}", "2 {}"});
  CHECK(of("\xEF\xBB\xBF\n {\"a\": 1}\n{}\n") == Records{"2  {\"a\": 1}", "3 {}"});
  CHECK(of("{\"a\": \"b\n{}\n") == Records{"1 {\"a\": \"b", "2 {}"});  // a line that is cut
  CHECK(of("{\n \"a\": 1\n}\n{\n \"a\": 2\n}\n") ==
        Records{"1 {\n \"a\": 1\n}", "4 {\n \"a\": 2\n}"});
  CHECK(of(gzip("[{},\n{}]")) == Records{"1 {}", "2 {}"});
  const std::string a_line = cat("{\"text\": \"", std::string(3'000'000, 'x'), "\"}");
  CHECK(of(cat(a_line, "\n{}\n")) == Records{cat("1 ", a_line), "2 {}"});
  for (const char* text : {"[Chapter 1]\nOnce", "{so it goes}", "[1] a note", "", " ", "{"})
    CHECK(of(text) == (*text ? Records{cat("1 ", text)} : Records{}));
  CHECK(of(zstd("words\n\nand more")) == Records{"1 words\n\nand more"});
  CHECK(of("").empty());
}

TEST_CASE("real shards give all their records", "[data]") {
  const std::string path = shared_data("text/novels-train-00000.jsonl.zst");
  if (path.empty()) {
    WARN("skipped: the shared data is absent");
    return;
  }
  RecordReader reader(path);
  int64_t count = 0, bytes = 0;
  while (const auto record = reader.next()) {
    ++count;
    CHECK(record->line == count);
    CHECK(record->content.ends_with('}'));
    bytes += static_cast<int64_t>(record->content.size());
  }
  CHECK(count > 100);
  CHECK(bytes > 5'000'000);
}

TEST_CASE("speed of reading lines", "[.bench]") {
  const TemporaryFolder folder;
  std::string text;
  for (int i = 0; text.size() < (size_t{256} << 20); ++i)
    text += cat("{\"id\": ", i, ", \"text\": \"", std::string(1000, 'x'), "\"}\n");
  write_file_atomic(folder / "a.jsonl", text);
  write_file_atomic(folder / "a.jsonl.zst", zstd(text));
  for (const char* name : {"a.jsonl", "a.jsonl.zst"}) {
    for (const RecordForm form : {RecordForm::kJsonLines, RecordForm::kJson}) {
      const auto start = std::chrono::steady_clock::now();
      RecordReader reader(folder / name, {.form = form});
      while (reader.next()) {
      }
      const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
      WARN(name << " form " << static_cast<int>(form) << ": "
                << static_cast<double>(text.size()) / took.count() / 1e6 << " MB/s");
    }
  }
}

// Kinds of files that hold no text: each by its name, with the way out.
#include "data/files/file_kind.h"

#include <catch2/catch.hpp>

#include "base/error.h"
#include "base/files.h"
#include "base/strings.h"
#include "data/files/source.h"
#include "support/compress.h"
#include "support/fault.h"
#include "support/temporary_folder.h"

using namespace levanter;
using namespace levanter::data;
using namespace levanter::testing;

namespace {

/// What is said of a file of that name and content.
std::string fault_of(const std::string& name, std::string_view content) {
  const TemporaryFolder folder;
  write_file_atomic(folder / name, content);
  return failure_of(ErrorKind::kData, [&] {
    RecordReader reader(folder / name);
    while (reader.next()) {
    }
  });
}

/// A beginning with zeros behind it.
std::string padded(std::string_view beginning, size_t at = 0) {
  std::string content(at, '\0');
  content += beginning;
  return content + std::string(600 - content.size(), '\0');
}

}  // namespace

TEST_CASE("files of other programs are refused by name, whatever they are called", "[data]") {
  const std::pair<std::string, const char*> kKinds[] = {
      {padded("PAR1"), "a Parquet file"},
      {padded("ARROW1"), "an Arrow file"},
      {padded("\xFF\xFF\xFF\xFF"), "an Arrow stream"},
      {padded("FEA1"), "a Feather file"},
      {padded(std::string_view("\xFD\x37zXZ\0", 6)), "packed with xz"},
      {padded("BZh91AY&SY"), "packed with bzip2"},
      {padded("PK\x03\x04"), "a zip archive"},
      {padded("ustar", 257), "a tar archive"},
      {padded("\x93NUMPY"), "a NumPy array"},
      {padded(std::string_view("MMIDIDX\0", 8)), "an index of token ids"},
      {"%PDF-1.7\n", "a PDF file"},
      {"version https://git-lfs.github.com/spec/v1\noid sha256:1\nsize 5\n", "a Git LFS pointer"},
      {"\n<!DOCTYPE html>\n<title>404</title>", "a page of HTML"},
      {"<HTML><body>no such file", "a page of HTML"},
      {"\xFF\xFE{", "UTF-16"},
      {"\xFE\xFF{", "UTF-16"},
      {std::string("\xFF\xFE\0\0{", 5), "UTF-32"},
      {std::string("\0\0\xFE\xFF{", 5), "UTF-32"},
      {padded("Obj\x01"), "an Avro file"},
      {padded("\xD0\xCF\x11\xE0\xA1\xB1\x1A\xE1"), "an Office document"},
      {"<?xml version=\"1.0\"?>\n<Error><Code>AccessDenied</Code></Error>", "an error in XML"},
  };
  for (const auto& [content, name] : kKinds)
    for (const char* file : {"a.txt", "a.jsonl", "a", "a.bin"}) {
      const std::string fault = fault_of(file, content);
      CHECK_THAT(fault, Catch::Contains(cat("the file is ", name)) && Catch::Contains(file) &&
                            Catch::Contains("hint"));
      CHECK_THAT(fault_of(cat(file, ".gz"), gzip(content)),
                 Catch::Contains(cat("the file is ", name)) && Catch::Contains(cat(file, ".gz\n")));
    }
}

TEST_CASE("a file with NUL bytes is no text, wherever they are", "[data]") {
  std::string ids;
  for (int i = 0; i < 1000; ++i) ids += {static_cast<char>(i), static_cast<char>(i >> 8)};
  CHECK_THAT(fault_of("train.bin", ids),
             Catch::Contains("NUL bytes") && Catch::Contains("prebuilt"));
  const std::string_view letters("\0\0\0w\0\0\0o\0\0\0r\0\0\0d\0\0\0", 19);
  const auto iconv_of = [](std::string_view text) { return fault_of("a.txt", text); };
  CHECK_THAT(iconv_of({"w\0o\0r\0d\0", 8}), Catch::Contains("iconv -f UTF-16LE"));
  CHECK_THAT(iconv_of({"\0w\0o\0r\0d", 8}), Catch::Contains("iconv -f UTF-16BE"));
  CHECK_THAT(iconv_of(letters.substr(3)), Catch::Contains("iconv -f UTF-32LE"));
  CHECK_THAT(iconv_of(letters.substr(0, 16)), Catch::Contains("iconv -f UTF-32BE"));
  const std::string late = std::string(3'000'000, 'x') + std::string("\0y", 2);
  CHECK_THAT(fault_of("a.txt", late),
             Catch::Contains("the first at byte 3000000") && Catch::Contains("tr -d"));
  // Ids that are all above 255 hold no zeros.
  CHECK_THAT(fault_of("train.bin", std::string(500, '\xAB')), Catch::Contains("no text"));
}

TEST_CASE("token ids without any zero byte are no text, whatever they are called", "[data]") {
  std::string ids;
  for (int i = 0; i < 1000; ++i)
    ids += {static_cast<char>(i % 255 + 1), static_cast<char>(i * 7 % 190 + 1)};
  for (const char* name : {"train.bin", "a.txt", "a"})
    CHECK_THAT(fault_of(name, ids), Catch::Contains("no text") && Catch::Contains("input_ids"));
}

TEST_CASE("tables are refused by their suffix, with what makes records of them", "[data]") {
  CHECK_THAT(fault_of("a.csv", "text,label\nwords,1\n"),
             Catch::Contains("comma-separated") && Catch::Contains("csv.DictReader(sys.stdin)") &&
                 Catch::Contains(".txt"));
  CHECK_THAT(fault_of("A.TSV.gz", gzip("text\tlabel\n")),
             Catch::Contains("tab-separated") && Catch::Contains("delimiter=\"\\t\""));
}

TEST_CASE("a byte order mark is no part of a text", "[data]") {
  const TemporaryFolder folder;
  for (const RecordForm form :
       {RecordForm::kByContent, RecordForm::kText, RecordForm::kTextLines}) {
    write_file_atomic(folder / "a.txt", "\xEF\xBB\xBFwords \xEF\xBB\xBF");
    RecordReader reader(folder / "a.txt", {form});
    CHECK(reader.next()->content == "words \xEF\xBB\xBF");  // only where a file begins
  }
  write_file_atomic(folder / "a.txt", "\xEF\xBB\xBF");
  CHECK_FALSE(RecordReader(folder / "a.txt").next());
}

TEST_CASE("a text that only looks like another file is a text", "[data]") {
  const TemporaryFolder folder;
  for (const auto& [name, content] :
       {std::pair<const char*, const char*>{"a.txt", "PARTING is sweet"},
        {"b.txt", "BZhou wrote"},
        {"c.txt", "ORCs and PKs"},
        {"d.html", "<!doctype html><p>meant</p>"},
        {"e.bin", "plain words"},
        {"f.txt", ""},
        {"h.xml", "<?xml version='1.0'?><Error>meant</Error>"},
        {"i.txt", "<?xml version='1.0'?><TEI>a book</TEI>"},
        {"j.txt", "caf\xE9 \xE0 Nice\x0C\x0C\x0C"},  // Latin-1
        {"k.txt",
         "a\x01"
         "b\x01"
         "c\x01"
         "d"},
        {"g.txt", "caf\xC3\xA9"}}) {
    write_file_atomic(folder / name, content);
    RecordReader reader(folder / name);
    CHECK(reader.form() == RecordForm::kText);
    const auto record = reader.next();
    CHECK((record ? record->content : "") == content);
  }
}

// Kinds of files that hold no text: each by its name, with the way out.
#include "data/file_kind.h"

#include <catch2/catch.hpp>

#include "base/error.h"
#include "base/files.h"
#include "base/strings.h"
#include "data/source.h"
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
  };
  for (const auto& [content, name] : kKinds)
    for (const char* file : {"a.txt", "a.jsonl", "a", "a.bin"}) {
      const std::string fault = fault_of(file, content);
      CHECK_THAT(fault, Catch::Contains(cat("the file is ", name)) && Catch::Contains(file) &&
                            Catch::Contains("hint"));
      CHECK_THAT(fault_of(file, gzip(content)), Catch::Contains(cat("the file is ", name)));
    }
}

TEST_CASE("a file with NUL bytes is no text, wherever they are", "[data]") {
  std::string ids;
  for (int i = 0; i < 1000; ++i) ids += {static_cast<char>(i), static_cast<char>(i >> 8)};
  CHECK_THAT(fault_of("train.bin", ids),
             Catch::Contains("NUL bytes") && Catch::Contains("prebuilt"));
  CHECK_THAT(fault_of("a.txt", std::string("w\0o\0r\0d\0s\0", 10)), Catch::Contains("UTF-16LE"));
  const std::string late = std::string(3'000'000, 'x') + std::string("\0y", 2);
  CHECK_THAT(fault_of("a.txt", late),
             Catch::Contains("the first at byte 3000000") && Catch::Contains("tr -d"));
  // Ids that are all above 255 hold no zeros.
  CHECK_THAT(fault_of("train.bin", std::string(500, '\xAB')), Catch::Contains("no text"));
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
        {"g.txt", "caf\xC3\xA9"}}) {
    write_file_atomic(folder / name, content);
    RecordReader reader(folder / name);
    CHECK(reader.form() == RecordForm::kText);
    const auto record = reader.next();
    CHECK((record ? record->content : "") == content);
  }
}

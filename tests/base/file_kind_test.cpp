// Files that are not what they were taken for: each by its name.
#include "base/file_kind.h"

#include <catch2/catch.hpp>

#include "support/fault.h"

using namespace levanter;
using namespace levanter::testing;

TEST_CASE("what a server sends in place of a file is told", "[base]") {
  const char* kXml = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n";
  const std::string denied = "<Error><Code>AccessDenied</Code></Error>";
  for (const std::string& text : {kXml + denied, denied, "\xEF\xBB\xBF" + (kXml + denied)})
    CHECK(stand_in(text)->name == "an error in XML, as a web server sends in place of a file");
  CHECK(stand_in(std::string(kXml) + "<!DOCTYPE html PUBLIC")->name.starts_with("a page of HTML"));
  CHECK(stand_in("version https://git-lfs.github.com/spec/v1\n")->way_out ==
        "fetch the file: git lfs pull");
  for (const char* text : {"", "<Errors> are told", "<?xml version=\"1.0\"?>\n<TEI>", "version 2"})
    CHECK_FALSE(stand_in(text));
}

TEST_CASE("a stand-in is refused with its kind, and so is nothing at all", "[base]") {
  CHECK_THAT(failure_of(ErrorKind::kCheckpoint,
                        [] { refuse_stand_in(ErrorKind::kCheckpoint, "", "model.safetensors"); }),
             Catch::Contains("the file is empty") && Catch::Contains("model.safetensors"));
  CHECK_THAT(failure_of(ErrorKind::kData,
                        [] { refuse_stand_in(ErrorKind::kData, "<html>", "tokenizer.json"); }),
             Catch::Contains("a page of HTML") && Catch::Contains("fetch the file again"));
  CHECK_NOTHROW(refuse_stand_in(ErrorKind::kData, "{}", "tokenizer.json"));
}

TEST_CASE("what is in a zip archive is told by its first file", "[base]") {
  std::string head(30, '\0');
  head.replace(0, 4, "PK\x03\x04");
  CHECK(foreign_kind(head + "[Content_Types].xml")->name == "an Office document");
  CHECK(foreign_kind(head + "mimetypeapplication/epub+zip")->name == "an EPUB book");
  CHECK(foreign_kind(head + "notes.txt")->name == "a zip archive");
  CHECK(foreign_kind("PK\x03\x04")->name == "a zip archive");
}

TEST_CASE("a suffix counts in capitals too", "[base]") {
  CHECK(has_suffix("A.JSONL", ".jsonl"));
  CHECK_FALSE(has_suffix("jsonl", ".jsonl"));
}

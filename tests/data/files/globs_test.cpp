// Patterns of files: stars, classes, braces, folders, and what matches nothing.
#include "data/files/globs.h"

#include <catch2/catch.hpp>
#include <sys/stat.h>
#include <unistd.h>

#include "base/files.h"
#include "base/strings.h"
#include "support/fault.h"
#include "support/temporary_folder.h"

using namespace levanter;
using levanter::data::expand_globs;
using namespace levanter::testing;

namespace {

/// A folder with empty files of these names, and the patterns' answers relative to it.
struct Files {
  explicit Files(const std::vector<std::string>& names) {
    for (const std::string& name : names) {
      make_directories(parent_path(folder / name));
      write_file_atomic(folder / name, "");
    }
  }
  std::vector<std::string> of(const std::string& pattern) const {
    std::vector<std::string> out;
    for (const std::string& path : expand_globs(folder / pattern, "data.train"))
      out.push_back(path.substr(folder.path().size() + 1));
    return out;
  }
  std::string error(const std::string& pattern) const {
    return failure_of(ErrorKind::kData, [&] { of(pattern); });
  }

  TemporaryFolder folder;
};

using Names = std::vector<std::string>;

}  // namespace

TEST_CASE("stars, question marks and classes match within a name", "[data]") {
  const Files files({"a1.txt", "a2.txt", "b1.txt", ".hidden.txt", "sub/a3.txt", "a-.txt", "a]"});
  CHECK(files.of("*.txt") == Names{"a-.txt", "a1.txt", "a2.txt", "b1.txt"});
  CHECK(files.of("a?.txt") == Names{"a-.txt", "a1.txt", "a2.txt"});
  CHECK(files.of("a[0-9].txt") == Names{"a1.txt", "a2.txt"});
  CHECK(files.of("[!a]?.txt") == Names{"b1.txt"});
  CHECK(files.of("a[-x].txt") == Names{"a-.txt"});
  CHECK(files.of("a[]]") == Names{"a]"});
  CHECK(files.of(".h*") == Names{".hidden.txt"});
  CHECK(files.of("s*/a*.txt") == Names{"sub/a3.txt"});
  CHECK(files.of("*1*x*") == Names{"a1.txt", "b1.txt"});
}

TEST_CASE("two stars match any number of folders", "[data]") {
  const Files files({"a.txt", "x/b.txt", "x/y/c.txt", "x/y/d.json"});
  CHECK(files.of("**/*.txt") == Names{"a.txt", "x/b.txt", "x/y/c.txt"});
  CHECK(files.of("x/**/*.txt") == Names{"x/b.txt", "x/y/c.txt"});
  CHECK(files.of("**/y/*") == Names{"x/y/c.txt", "x/y/d.json"});
  CHECK(files.of("x/**") == Names{"x/b.txt", "x/y/c.txt", "x/y/d.json"});
}

TEST_CASE("braces give alternatives in their order, numbers as wide as written", "[data]") {
  const Files files({"s-08.gz", "s-09.gz", "s-10.gz", "s-11.gz", "t.txt", "u.txt"});
  CHECK(files.of("s-{08..10}.gz") == Names{"s-08.gz", "s-09.gz", "s-10.gz"});
  CHECK(files.of("s-{11..10}.gz") == Names{"s-11.gz", "s-10.gz"});
  CHECK(files.of("{u,t}.txt") == Names{"u.txt", "t.txt"});
  CHECK(files.of("{u.txt,s-{08,1{0..1}}.gz}") == Names{"u.txt", "s-08.gz", "s-10.gz", "s-11.gz"});
  CHECK(files.of("{s-*,s-08.gz}") == Names{"s-08.gz", "s-09.gz", "s-10.gz", "s-11.gz"});
}

TEST_CASE("a file whose name is the pattern is meant", "[data]") {
  const Files files({"a[1].txt", "a1.txt", "{x}"});
  CHECK(files.of("a[1].txt") == Names{"a[1].txt"});
  CHECK(files.of("{x}") == Names{"{x}"});
  CHECK(expand_globs("-", "k") == Names{"-"});
}

TEST_CASE("what matches nothing is refused with the nearest name", "[data]") {
  const Files files({"train-00000.jsonl", "train-00001.jsonl", "sub/x"});
  const std::string& folder = files.folder.path();
  CHECK(files.error("trian-00001.jsonl") ==
        cat("error: data.train names a file that is not there\n  at       ", folder,
            "/trian-00001.jsonl\n  hint     did you mean \"", folder, "/train-00001.jsonl\""));
  CHECK(files.error("*.zst") == cat("error: data.train matches no file\n  at       ", folder,
                                    "/*.zst\n  hint     ", folder,
                                    " holds sub, train-00000.jsonl, train-00001.jsonl"));
  CHECK_THAT(
      files.error("train-{00000..00002}.jsonl"),
      Catch::Contains("names a file that is not there") && Catch::Contains("train-00002.jsonl"));
  CHECK_THAT(files.error("sbu/*"), Catch::Contains("did you mean"));
  CHECK(files.error("sub") ==
        cat("error: data.train names a folder where files should be\n  at       ", folder,
            "/sub\n  hint     its files are \"", folder, "/sub/*\""));
  CHECK(files.error("{0..9999999}") ==
        "error: data.train has a pattern with too many alternatives\n  allowed  at most 1,000,000");
}

TEST_CASE("a pipe stands as it is; a device and a link to nothing are refused", "[data]") {
  const Files files({"a.txt"});
  REQUIRE(::mkfifo((files.folder / "pipe").c_str(), 0600) == 0);
  REQUIRE(::symlink("loop", (files.folder / "loop").c_str()) == 0);
  CHECK(files.of("pipe") == Names{"pipe"});
  CHECK(expand_globs("/dev/fd/63", "k") == Names{"/dev/fd/63"});
  CHECK(expand_globs("/dev/stdin", "k") == Names{"-"});
  CHECK_THAT(files.error("loop"), Catch::Contains("\"loop\" is a symbolic link to nothing"));
  CHECK_THAT(files.error("a.txt/b"), Catch::Contains("\"a.txt\" is a file, not a folder"));
  CHECK_THAT(failure_of(ErrorKind::kData, [] { expand_globs("/dev/zero", "data.train"); }),
             Catch::Contains("a device, not a file") && Catch::Contains("\"-\""));
}

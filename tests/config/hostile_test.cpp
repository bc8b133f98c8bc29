// Configs that would use up the stack, the memory or somebody's patience: each is an error.
#include <catch2/catch.hpp>

#include <string>
#include <vector>

#include "base/files.h"
#include "base/strings.h"
#include "data/files/globs.h"
#include "support/fault.h"
#include "support/temporary_folder.h"
#include "train/config/train_config.h"

using namespace levanter;
using levanter::testing::failure_of;
using testing::TemporaryFolder;

namespace {

std::string repeat(const std::string& text, int n) {
  std::string out;
  for (int i = 0; i < n; ++i) out += text;
  return out;
}

/// The error of a config, and of the same text as an override where it is one.
std::string error_of(const std::string& text, const std::vector<std::string>& overrides = {}) {
  return failure_of(ErrorKind::kConfig, [&] { parse_train_config(text, "run.toml", overrides); });
}

void check_has(const std::string& text, const std::string& part) {
  INFO(text.substr(0, 400));
  CHECK(text.find(part) != std::string::npos);
  CHECK(text.size() < 30000);
}

}  // namespace

TEST_CASE("keys and values nest only so deep", "[config]") {
  const std::string parts = "more than 32 parts", deep = "more than 64 deep";
  for (const int n : {100, 10000, 100000}) {
    const std::string key = cat("a", repeat(".a", n));
    check_has(error_of(key + " = 1\n"), parts);
    check_has(error_of(cat("# ' . \"\nx = 'y'\n[", key, "]\n")), parts);
    check_has(error_of(cat("[[", key, "]]\n")), parts);
    check_has(error_of(cat("x = {", key, " = 1}\n")), parts);
    check_has(error_of(cat("a", repeat(" . 'a'", n), " = 1\n")), parts);
    check_has(error_of("", {cat("--", key, "=1")}), "parts");
    check_has(error_of("", {cat("--trainer={", key, " = 1}")}), parts);
  }
  const std::string dotted = cat("a", repeat(".a", 30));
  check_has(error_of(cat("x = ", repeat(cat("{", dotted, " = "), 200), "1", repeat("}", 200))),
            deep);
  check_has(error_of(cat("x = ", repeat("[", 200), repeat("]", 200))), deep);
  check_has(error_of("", {cat("--trainer=", repeat("{a = ", 100), "1", repeat("}", 100))}), deep);
  for (const char* open : {"[", "{a = ", "{", "[[[{"})
    check_has(error_of(cat("x = ", repeat(open, 50000))), "error: ");
  // What only looks like a long key is none.
  const std::string dots = repeat(".", 100);
  CHECK(parse_train_config(
            cat("[trainer] # ", dots, "\nid = 'a' # ", dots, "\n[data.components.\"", dots,
                "\"]\ntrain = ['", dots, "', \"\"\"", dots, "\\\"\n", dots, "\"\"\"]\n"),
            "run.toml")
            .data.components.contains(dots));
}

TEST_CASE("of very many faults some are listed and all are counted", "[config]") {
  std::string text = "[trainer]\n";
  for (int i = 0; i < 30000; ++i) text += cat("some_unknown_key_", i, " = 1\n");
  const std::string error = error_of(text);
  check_has(error, "30000 faults in run.toml, of which 20 are shown");
  size_t listed = 0;
  for (size_t at = 0; (at = error.find("error: ", at)) != std::string::npos; ++at) ++listed;
  CHECK(listed == 20);
  check_has(error, "some_unknown_key_0 ");
  std::string list;
  for (int i = 0; i < 50000; ++i) list += cat("\"t", i, "\", ");
  check_has(error_of(cat("[trainer]\ntracker = [", list, "]\n")), "50000 faults");
  std::string components;
  for (int i = 0; i < 20000; ++i) components += cat("a", i, " = { train = 'x' }\n");
  check_has(error_of("[data.components]\n" + components), "at most 4096");
  std::vector<std::string> words(30000, "--trainer.seed=1");
  check_has(error_of("", words), "at most 10000");
}

TEST_CASE("each file is included once, and all together are not long", "[config]") {
  const TemporaryFolder folder;
  const auto load = [&](const std::string& name) {
    return failure_of(ErrorKind::kConfig, [&] { load_train_config(folder / name); });
  };
  // Two files a level, each of which includes both of the next.
  for (int i = 0; i < 25; ++i)
    for (const char side : {'a', 'b'})
      write_file_atomic(folder / cat(side, i, ".toml"),
                        i == 24 ? cat("[trainer]\nseed = ", side == 'a' ? 1 : 2, "\n")
                                : cat("include = ['a", i + 1, ".toml', 'b", i + 1, ".toml']\n"));
  CHECK(load_train_config(folder / "a0.toml").trainer.seed == 2);
  for (int i = 0; i < 1000; ++i)
    write_file_atomic(folder / cat("chain", i, ".toml"),
                      cat("include = 'chain", i + 1, ".toml'\n"));
  check_has(load("chain0.toml"), "include each other");
  write_file_atomic(folder / "zero.toml", "include = '/dev/zero'\n");
  check_has(load("zero.toml"), "is too long");
  check_has(failure_of(ErrorKind::kConfig, [&] { load_train_config("/dev/zero"); }), "too long");
  write_file_atomic(folder / "long.toml", "#" + std::string(size_t{2} << 20, 'x'));
  check_has(load("long.toml"), "at most 1.00 MiB");
  write_file_atomic(folder / "half.toml", "#" + std::string(600 << 10, 'x'));
  write_file_atomic(folder / "other.toml", "#" + std::string(600 << 10, 'x'));
  write_file_atomic(folder / "both.toml", "include = ['half.toml', 'other.toml']\n");
  check_has(load("both.toml"), "with all that is included");
  std::string missing = "include = [";
  for (int i = 0; i < 20000; ++i) missing += cat("'", i, "', ");
  write_file_atomic(folder / "missing.toml", missing + "]\n");
  check_has(load("missing.toml"), "of which 20 are shown");
}

TEST_CASE("a name holds no NUL, where the system would end it", "[config]") {
  for (const char* text :
       {"[trainer]\nlog_dir = \"lo\\u0000gs\"\n", "[trainer]\nid = \"a\\u0000b\"\n",
        "[data.components.\"a\\u0000b\"]\ntrain = \"a\"\n",
        "[data.components.a]\ntrain = [\"a\\u0000b\"]\n"})
    check_has(error_of(text), "holds a NUL");
  check_has(error_of("include = \"a\\u0000b\"\n"), "does not name a file");
}

TEST_CASE("patterns of files end in time", "[data]") {
  const TemporaryFolder folder;
  const auto refused = [&](const std::string& pattern) {
    return failure_of(ErrorKind::kData, [&] { data::expand_globs(folder / pattern, "train"); });
  };
  for (const int n : {100, 16000, 100000}) {
    check_has(refused(cat(repeat("{a,", n), repeat("}", n))), "too many braces");
    check_has(refused(repeat("{a,b}", n)), "too many braces");
    check_has(refused(repeat("{a}", n)), "too many braces");
    check_has(refused(repeat("{", n)), "too many braces");
  }
  check_has(refused(repeat("{a,b}", 40)), "too many alternatives");
  check_has(refused(cat("{1..1000000}", std::string(100000, 'x'))), "too many alternatives");
  check_has(refused("{1..99999999999}"), "too many alternatives");
  check_has(refused(repeat("**/a*/", 1000)), "too many **");
  // Three times "**" is one, and a folder is walked once for each part that is asked of it.
  std::string deep;
  for (int i = 0; i < 40; ++i) {
    deep += "d/";
    make_directories(folder / cat(deep, "e"));
  }
  write_file_atomic(folder / cat(deep, "x.txt"), "x");
  CHECK(data::expand_globs(folder / cat(repeat("**/", 1000), "*.txt"), "train").size() == 1);
  CHECK(data::expand_globs(folder / "**/d/**/d/**/d/**/*.txt", "train").size() == 1);
}

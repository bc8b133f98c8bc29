// How values find their way into structs.
#include "config/bind.h"

#include <catch2/catch.hpp>
#include <limits>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/strings.h"
#include "config/slot.h"
#include "config/toml.h"

using namespace levanter;
using namespace levanter::config;

namespace {

struct Inner {
  int64_t size = 1;
  std::optional<double> share;
  void fields(Fields& f) {
    f("size", size, "how many").at_least(1);
    f("share", share, "what part").at_least(0).at_most(1);
  }
  void validate(Problems& p) const {
    if (size == 13) p.add("size", cat(p.name("size"), " = 13 brings no luck"));
    if (share && size > 100)
      p.add("share", cat(p.name("share"), " is given for a large size"), {"size"});
  }
};

struct Outer {
  bool flag = false;
  Inner inner;
  std::optional<Inner> maybe;
  std::map<std::string, Inner> named;
  std::vector<Inner> list;
  OneOrMany<int64_t> counts;
  Path place{.text = "here", .resolved = ""};
  Duration wait{.seconds = 5};
  std::optional<Duration> limit = Duration{60};
  void fields(Fields& f) {
    f("flag", flag, "a flag");
    f("inner", inner, "one");
    f("maybe", maybe, "one or none");
    f("named", named, "by name");
    f("list", list, "in a row");
    f("counts", counts, "one or more");
    f("place", place, "a path");
    f("wait", wait, "a time");
    f("limit", limit, "a time or none");
  }
};

/// Binds the text; the faults are returned as one text, "" for none.
std::string bind_text(const std::string& text, Outer& out) {
  Sources sources;
  Problems problems(sources);
  const Value root = parse_toml(text, "t.toml", problems);
  if (problems.empty()) bind(root, type_of<Outer>(), &out, sources, problems);
  try {
    problems.raise("t.toml");
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

}  // namespace

TEST_CASE("every kind of field is set from a document", "[config]") {
  Outer out;
  REQUIRE(bind_text("flag = true\ninner.size = 3\nmaybe = { share = 1 }\ncounts = 4\nplace = "
                    "'x/../y'\nwait = '1h30m'\nlimit = 'none'\n[named.b]\nsize = 5\n[named.a]\n"
                    "[[list]]\nsize = 6\n[[list]]\nshare = 0.5\n",
                    out) == "");
  CHECK(out.flag);
  CHECK(out.inner.size == 3);
  CHECK(out.maybe->share == 1.0);
  CHECK(out.named.at("a").size == 1);
  CHECK(out.named.at("b").size == 5);
  REQUIRE(out.list.size() == 2);
  CHECK(out.list[0].size == 6);
  CHECK(out.list[1].share == 0.5);
  CHECK_FALSE(out.counts.listed);
  CHECK(out.counts.values == std::vector<int64_t>{4});
  CHECK(out.place.resolved.ends_with("/y"));
  CHECK(out.wait.seconds == 5400);
  CHECK_FALSE(out.limit.has_value());
}

TEST_CASE("one value stands for a list of one", "[config]") {
  Outer out;
  REQUIRE(bind_text("list = { size = 2 }\ncounts = [4]\n", out) == "");
  REQUIRE(out.list.size() == 1);
  CHECK(out.list[0].size == 2);
  CHECK(out.counts.listed);
}

TEST_CASE("a refused value leaves the field harmless", "[config]") {
  Outer out;
  const std::string error =
      bind_text("inner = { size = -4 }\nmaybe = 5\nlist = [{ size = 1 }, 3]\nwait = 'soon'\n", out);
  CHECK(contains(error, "inner.size = -4 is too small"));
  CHECK(contains(error, "maybe = 5 is an integer, not a table"));
  CHECK(contains(error, "list[1] = 3 is an integer, not a table"));
  CHECK(contains(error, "wait = \"soon\" is not a time"));
  CHECK(contains(error, "4 faults in t.toml"));
  CHECK(out.inner.size == 1);
  CHECK_FALSE(out.maybe.has_value());
  CHECK(out.list.empty());
  CHECK(out.wait.seconds == 5);
}

TEST_CASE("validation reaches structs in lists, maps and optionals", "[config]") {
  Outer out;
  const std::string error = bind_text(
      "inner.size = 13\nmaybe.size = 13\nnamed.x.size = 13\nlist = [{}, { size = 13 }]\n", out);
  for (const char* name : {"inner.size", "maybe.size", "named.x.size", "list[1].size"})
    CHECK(contains(error, cat("error: ", name, " = 13 brings no luck")));
  CHECK(contains(error, "4 faults"));
}

TEST_CASE("a fault that follows from another one is not reported", "[config]") {
  Outer out;
  CHECK(contains(bind_text("inner = { size = 200, share = 0.5 }\n", out), "for a large size"));
  const std::string error = bind_text("inner = { size = 200.5, share = 0.5 }\n", out);
  CHECK(contains(error, "inner.size = 200.5 is a float, not an integer"));
  CHECK_FALSE(contains(error, "for a large size"));
}

TEST_CASE("integers cover all 64 bits and no more", "[config]") {
  for (const int64_t value :
       {std::numeric_limits<int64_t>::max(), std::numeric_limits<int64_t>::min()}) {
    Value read;
    std::string error;
    REQUIRE(parse_toml_value(cat(value), {}, read, error));
    CHECK(read.kind == Value::Kind::kInteger);
    CHECK(read.integer == value);
    CHECK(read.print() == cat(value));
  }
  Value read;
  std::string error;
  CHECK_FALSE(parse_toml_value("9223372036854775808", {}, read, error));
  CHECK_FALSE(parse_toml_value("-9223372036854775809", {}, read, error));
  CHECK_FALSE(parse_toml_value("1\nother = 2", {}, read, error));
}

TEST_CASE("durations are read with and without units", "[config]") {
  const std::vector<std::pair<std::string, double>> good = {
      {"15m", 900},   {"1h30m", 5400}, {"20s", 20},    {"500ms", 0.5},   {"2d", 172800},
      {"1.5h", 5400}, {"20", 20},      {"0.25", 0.25}, {"1h1m1s", 3661}, {"0s", 0}};
  for (const auto& [text, seconds] : good) {
    double read = -1;
    INFO(text);
    CHECK(parse_duration(text, read));
    CHECK(read == seconds);
  }
  for (const char* text : {"", "m", "15 m", "15M", "1h30", "-5m", "5x", "1e3", "inf", ".", "3m "}) {
    double read = -1;
    INFO(text);
    CHECK_FALSE(parse_duration(text, read));
    CHECK(read == -1);
  }
}

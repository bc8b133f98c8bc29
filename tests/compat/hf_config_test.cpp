// The settings of a config.json: taken or refused, none passed over, written by the same list.
#include "compat/hf_config.h"

#include <catch2/catch.hpp>

#include "base/files.h"
#include "base/strings.h"
#include "support/fault.h"
#include "support/temporary_folder.h"

using namespace levanter;
using namespace levanter::testing;
using Catch::Contains;

namespace {

struct Settings {
  int64_t n = 0;
  double eps = 0, factor = 1;
  std::string act;
  std::optional<int64_t> none = 7, window;
  std::vector<std::string> kinds;
  bool missing = false;

  void keys(compat::HfConfig& hf) {
    static constexpr std::pair<const char*, const char*> kNames[] = {
        {"silu", "silu"}, {"swish", "silu"}, {"gelu_new", "gelu"}};
    hf("n", n);
    hf("eps", eps, 1e-6);
    hf.named("act", act, "swish", kNames);
    hf("none", none, 9);
    hf("window", window, 9);
    hf("kinds", kinds);
    hf("missing", missing, true);
    hf.object("inner", [&](compat::HfConfig& inner) {
      inner("factor", factor);
      inner.finish();
    });
    hf.require("on", true);
    hf.finish();
  }
};

std::string fault(const std::string& path, auto&& keys) {
  return failure_of(ErrorKind::kCheckpoint, [&] {
    compat::HfConfig hf(path);
    keys(hf);
  });
}

}  // namespace

TEST_CASE("settings are read and written by one list of keys", "[compat]") {
  const TemporaryFolder folder;
  const std::string path = folder / "config.json";
  write_file_atomic(path, R"({"n": 3, "eps": 1, "act": "gelu_new", "none": null, "on": true,
                              "kinds": ["a", "b"], "inner": {"factor": 2}})");
  Settings s;
  compat::HfConfig hf(path);
  s.keys(hf);
  CHECK(s.n == 3);
  CHECK(s.eps == 1);
  CHECK(s.act == "gelu");
  CHECK_FALSE(s.none);
  CHECK(s.window == 9);
  CHECK(s.kinds == std::vector<std::string>{"a", "b"});
  CHECK(s.missing);
  CHECK(s.factor == 2);

  compat::HfConfig out;
  s.keys(out);
  write_file_atomic(path, out.text());
  Settings again;
  compat::HfConfig in(path);
  again.keys(in);
  compat::HfConfig twice;
  again.keys(twice);
  CHECK(twice.text() == out.text());
  CHECK_THAT(out.text(), Contains("\"none\": null") && Contains("\"factor\": 2.0"));
}

TEST_CASE("null is no value, a default stands for what is missing", "[compat]") {
  const TemporaryFolder folder;
  const std::string path = folder / "config.json";
  write_file_atomic(path, R"({"n": null, "window": null, "quantised": null, "mark_a": 1,
                              "flags": [0, 0], "other": 2})");
  compat::HfConfig hf(path);
  hf.defaults(R"({"n": 4, "eps": 0.5, "window": 9})");
  int64_t n = 0, none = 0;
  double eps = 0;
  std::optional<int64_t> window = 1;
  hf("n", n);
  hf("eps", eps, 7.0);
  hf("window", window, 3);
  hf("none", none, 6);
  CHECK(n == 4);
  CHECK(eps == 0.5);
  CHECK_FALSE(window);
  CHECK(none == 6);
  CHECK_FALSE(hf.has("quantised"));
  hf.ignore({"mark_*"});
  CHECK(hf.neutral("flags", "0", ""));
  CHECK_FALSE(hf.neutral("other", "0", "something else"));
  CHECK_THAT(failure_of(ErrorKind::kCheckpoint, [&] { hf.finish(); }),
             Contains("not supported: other = 2 (something else)\n"));
  CHECK(hf.other_than("other", "2").empty());
  hf.finish();
}

TEST_CASE("what stands in place of a config.json is told", "[compat]") {
  const TemporaryFolder folder;
  const std::string path = folder / "config.json";
  const auto told = [&](std::string_view content) {
    write_file_atomic(path, content);
    return fault(path, [](compat::HfConfig&) {});
  };
  CHECK_THAT(told("version https://git-lfs.github.com/spec/v1\noid sha256:1\nsize 5\n"),
             Contains("a Git LFS pointer") && Contains("git lfs pull"));
  CHECK_THAT(told("<!DOCTYPE html>"), Contains("a page of HTML"));
  CHECK_THAT(told(""), Contains("the file is empty"));
  CHECK_THAT(told("[1]"), Contains("the file is no JSON object"));
}

TEST_CASE("settings that are unknown or of another kind are refused", "[compat]") {
  const TemporaryFolder folder;
  const std::string path = folder / "config.json";
  write_file_atomic(path, R"({"act": "silu", "on": true, "window": 5, "list": [1, "a"]})");
  Settings s;
  CHECK_THAT(fault(path, [&](auto& hf) { hf.require("on", false); }),
             Contains("on = true is not supported") && Contains("allowed  false"));
  CHECK_THAT(fault(path,
                   [&](auto& hf) {
                     (hf.ignore({"act", "on", "list"}), hf.finish());
                   }),
             Contains("not supported: window = 5"));
  CHECK_THAT(fault(path, [&](auto& hf) { hf("act", s.n); }),
             Contains("act = \"silu\" is not a whole number"));
  CHECK_THAT(fault(path, [&](auto& hf) { hf("absent", s.n); }), Contains("absent is missing"));
  CHECK_THAT(fault(path, [&](auto& hf) { hf("list", s.kinds); }), Contains("is not a text"));
  CHECK_THAT(fault(path, [&](auto& hf) { hf("window", s.kinds); }), Contains("is no list"));
  CHECK_THAT(fault(path, [&](auto& hf) { hf.object("act", [](auto&) {}); }),
             Contains("is no object"));
  CHECK_THAT(fault(folder / "other.json", [](auto&) {}), Contains("no config.json"));
  write_file_atomic(path,
                    cat("{\"a\": ", std::string(1 << 20, '['), std::string(1 << 20, ']'), "}"));
  CHECK_THAT(fault(path, [](auto&) {}), Contains("nests too deeply"));
  make_directories(folder / "sub/config.json");
  CHECK_THAT(fault(folder / "sub/config.json", [](auto&) {}), Contains("is no file"));
  write_file_atomic(path, "[1");
  CHECK_THAT(fault(path, [](auto&) {}), Contains("no JSON object"));
}

TEST_CASE("a config is read as Python reads it, and a number that is used must be finite",
          "[compat]") {
  const TemporaryFolder folder;
  double eps = 0;
  const auto read = [&](std::string_view text) {
    write_file_atomic(folder / "config.json", text);
    compat::HfConfig hf(folder / "config.json");
    hf("eps", eps, 1e-6);
  };
  read(R"({"router_jitter": NaN, "most": [Infinity, 1e999], "eps": 0.5})");
  CHECK(eps == 0.5);
  CHECK_THAT(failure_of(ErrorKind::kCheckpoint, [&] { read(R"({"eps": NaN})"); }),
             Contains("eps = nan is not a finite number"));
}

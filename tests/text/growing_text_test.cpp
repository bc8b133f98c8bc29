// A text shown while it grows: whole characters, nothing that may become a stop text.
#include "text/growing_text.h"

#include <catch2/catch.hpp>

#include "support/temporary_folder.h"

using namespace levanter;
using namespace levanter::text;

namespace {

/// What is settled after each byte of `text`, and how it ended.
struct Shown {
  std::vector<std::string> settled;
  std::string text;
  bool stopped = false;
};

Shown show(std::string_view text, const std::vector<std::string>& stops) {
  const auto tokenizer = open_tokenizer("bytes");
  GrowingText growing(*tokenizer, stops);
  Shown shown;
  std::vector<int32_t> ids;
  for (const char c : text) {
    ids.push_back(static_cast<unsigned char>(c));
    const bool goes_on = growing.update(ids);
    shown.settled.emplace_back(growing.settled());
    if (goes_on) continue;
    shown.stopped = true;
    break;
  }
  shown.text = growing.text();
  return shown;
}

using Texts = std::vector<std::string>;

}  // namespace

TEST_CASE("a character is shown when its last byte has come", "[text]") {
  const Shown shown = show("a\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80", {});
  CHECK(shown.settled == Texts{"a", "a", "a\xc3\xa9", "a\xc3\xa9", "a\xc3\xa9",
                               "a\xc3\xa9\xe2\x82\xac", "a\xc3\xa9\xe2\x82\xac",
                               "a\xc3\xa9\xe2\x82\xac", "a\xc3\xa9\xe2\x82\xac",
                               "a\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80"});
  CHECK(show("a\xc3", {}).text == "a\xc3");  // the whole text keeps what never got whole
  CHECK(show("a\x80\x80\x80\x80"
             "b",
             {})
            .settled.back() ==
        "a\x80\x80\x80\x80"
        "b");
}

TEST_CASE("a U+FFFD at the end may still become a character", "[text]") {
  const Shown shown = show(
      "a\xef\xbf\xbd\xef\xbf\xbd"
      "b",
      {});
  CHECK(shown.settled[3] == "a");
  CHECK(shown.settled.back() == shown.text);
}

TEST_CASE("a text ends before a stop text, of which nothing is shown", "[text]") {
  const Shown shown = show("aab.aabc", {"aabc", "xy"});
  CHECK(shown.settled == Texts{"", "", "", "aab.", "aab.", "aab.", "aab.", "aab."});
  CHECK(shown.stopped);
  CHECK(shown.text == "aab.");
  CHECK(show("aaab", {"aab"}).text == "a");
  CHECK(show("one two", {"two", "one"}).text == "");
  CHECK_FALSE(show("one tw", {"two"}).stopped);
  CHECK(show("one tw", {"two"}).settled.back() == "one ");
  CHECK(show("one tw", {"two"}).text == "one tw");
}

TEST_CASE("bytes that decode together are shown when something else follows them", "[text]") {
  const testing::TemporaryFolder folder;
  write_file_atomic(folder / "tokenizer.json", R"({"model": {"type": "BPE", "byte_fallback": true,
      "vocab": {"a": 0, "<0x07>": 1, "<0xE2>": 2, "<0x82>": 3, "<0xAC>": 4}, "merges": []},
      "decoder": {"type": "Sequence", "decoders": [{"type": "ByteFallback"}, {"type": "Fuse"}]}})");
  const auto tokenizer = open_tokenizer(folder.path());
  GrowingText growing(*tokenizer, {});
  const auto settled = [&](const std::vector<int32_t>& ids) {
    growing.update(ids);
    return std::string(growing.settled());
  };
  CHECK(settled({0}) == "a");
  CHECK(settled({0, 1}) == "a");  // 0x07 alone, but U+FFFD beside what is no character
  CHECK(settled({0, 1, 2}) == "a");
  CHECK(settled({0, 1, 2, 0}) ==
        "a\xef\xbf\xbd\xef\xbf\xbd"
        "a");
  CHECK(growing.text() == tokenizer->decode(std::vector<int32_t>{0, 1, 2, 0}));
}

// UTF-8 that is broken: where, and what takes its place.
#include "text/utf8.h"

#include <catch2/catch.hpp>

#include "base/random.h"

using namespace levanter;
using namespace levanter::text;

namespace {

std::string mended(std::string_view text, int64_t count) {
  std::string out;
  CHECK(append_mended_utf8(out, text) == count);
  return out;
}

}  // namespace

TEST_CASE("the first broken byte is found at any place", "[text]") {
  CHECK(find_broken_utf8("") == 0);
  const std::string good = "plain ASCII, then é, €, 𝄞 and more plain ASCII to the end";
  CHECK(find_broken_utf8(good) == good.size());
  for (size_t at = 0; at <= good.size(); ++at) {
    if (at < good.size() && (static_cast<uint8_t>(good[at]) & 0xC0) == 0x80) continue;
    std::string broken = good;
    broken.insert(at, "\xFF");
    CHECK(find_broken_utf8(broken) == at);
  }
}

TEST_CASE("broken sequences become one U+FFFD each", "[text]") {
  CHECK(mended("a\xFFz", 1) == "a\uFFFDz");
  CHECK(mended("\x80\x80", 2) == "\uFFFD\uFFFD");
  CHECK(mended("\xE2\x82", 1) == "\uFFFD");
  CHECK(mended("\xE2\x82z", 1) == "\uFFFDz");
  CHECK(mended("\xF0\x9D\x84", 1) == "\uFFFD");
  CHECK(mended("\xC0\xAF", 2) == "\uFFFD\uFFFD");
  CHECK(mended("\xE0\x80\x80", 3) == "\uFFFD\uFFFD\uFFFD");
  CHECK(mended("\xED\xA0\x80", 3) == "\uFFFD\uFFFD\uFFFD");
  CHECK(mended("\xF4\x90\x80\x80", 4) == "\uFFFD\uFFFD\uFFFD\uFFFD");
  CHECK(mended("\xF0\x90\xC3\xA9", 1) == "\uFFFD\u00E9");
  // The example of the Unicode standard's table 3-8.
  CHECK(mended("\x61\xF1\x80\x80\xE1\x80\xC2\x62\x80\x63\x80\xBF\x64", 6) ==
        "a\uFFFD\uFFFD\uFFFDb\uFFFDc\uFFFD\uFFFDd");
}

TEST_CASE("mended text is UTF-8, and UTF-8 stays as it is", "[text]") {
  for (uint64_t trial = 0; trial < 2000; ++trial) {
    std::string text;
    for (uint64_t i = 0; i < 40; ++i) {
      const uint32_t bits = random_bits({9, 7}, trial * 64 + i);
      text += static_cast<char>(bits % 3 == 0 ? bits >> 24 : bits >> 24 & 0x7F);
    }
    std::string out, again;
    const int64_t count = append_mended_utf8(out, text);
    CHECK((count == 0) == (find_broken_utf8(text) == text.size()));
    CHECK(find_broken_utf8(out) == out.size());
    CHECK(append_mended_utf8(again, out) == 0);
    CHECK(again == out);
  }
}

// Which tokens hold a part of a text: made cases, and masks as Hugging Face's offsets give them.
#include "text/hf/alignment.h"

#include <catch2/catch.hpp>

#include "base/strings.h"
#include "support/shared_data.h"
#include "text/hf_support.h"

using namespace levanter;
using namespace levanter::text;
using namespace levanter::testing;

namespace {

using Spans = std::vector<ByteSpan>;

Spans aligned(std::string_view text, std::vector<std::string> surfaces) {
  return hf::align(text, surfaces);
}

}  // namespace

TEST_CASE("tokens lie where their text stands, made spaces and lost text apart", "[text]") {
  CHECK(aligned("ab c", {"a", "b", "\u2581c"}) == Spans{{0, 1}, {1, 2}, {2, 4}});
  CHECK(aligned("ab", {"\u2581", "a", "b"}) == Spans{{0, 0}, {0, 1}, {1, 2}});
  CHECK(aligned("ab\u2581c", {" ab", "\u2581", "c"}) == Spans{{0, 2}, {2, 5}, {5, 6}});
  CHECK(aligned("ab \n cd", {"ab", "cd"}) == Spans{{0, 2}, {5, 7}});
  CHECK(aligned("", {}).empty());
}

TEST_CASE("unknown tokens have a character each or share a place", "[text]") {
  CHECK(aligned("a?!b", {"a", "", "", "b"}) == Spans{{0, 1}, {1, 2}, {2, 3}, {3, 4}});
  CHECK(aligned("a xyz b", {"a", "", "b"}) == Spans{{0, 1}, {1, 6}, {6, 7}});
  CHECK(aligned("\u00e9\u00e9", {"", ""}) == Spans{{0, 2}, {2, 4}});
}

TEST_CASE("a span is followed into normalized text", "[text]") {
  const auto doubled = [](std::string_view text) {
    std::string out = "^";
    for (const char c : text) out += {c, c};
    return out;
  };
  CHECK(hf::normalized_span("abc", {1, 2}, doubled("abc"), doubled) == ByteSpan{3, 5});
  CHECK(hf::normalized_span("abc", {0, 3}, doubled("abc"), doubled) == ByteSpan{0, 7});
}

TEST_CASE("a token counts where it touches a span, an empty one where it stands", "[text]") {
  CHECK(hf::touches({1, 3}, {2, 9}));
  CHECK_FALSE(hf::touches({1, 3}, {3, 9}));
  CHECK_FALSE(hf::touches({9, 10}, {3, 9}));
  CHECK(hf::touches({3, 3}, {3, 9}));
}

TEST_CASE("marks are those of Hugging Face's offsets", "[text]") {
  struct Case {
    const char *tokenizer, *text;
    ByteSpan span;
    const char* marks;
  };
  constexpr char kAccents[] = "ab the e\u0301t\u00e9 xy",
                 kEmoji[] = "\U0001F469\u200d\U0001F680 go";
  const Case cases[] = {
      {"mistral", kAccents, {3, 10}, "0111000"}, {"mistral", " hi  there", {0, 2}, "1100"},
      {"mistral", kEmoji, {4, 7}, "00000100"},   {"qwen3", kAccents, {3, 10}, "0110"},
      {"qwen3", " hi  there", {0, 2}, "100"},    {"qwen3", kEmoji, {4, 7}, "01100"},
      {"gpt2", kAccents, {3, 10}, "011110000"},  {"gpt2", " hi  there", {0, 2}, "100"},
      {"gpt2", kEmoji, {4, 7}, "00110000"},
  };
  for (const Case& c : cases) {
    const std::string path = shared_data(cat("tokenizers/", c.tokenizer));
    if (path.empty()) {
      WARN("skipped: the shared data is absent");
      return;
    }
    const auto tokenizer = hf_tokenizer(path);
    const MarkedIds made = tokenizer->encode_marked({c.text, "t"}, std::span(&c.span, 1));
    CHECK(made.ids == tokenizer->encode({c.text, "t"}));
    std::string marks;
    for (const bool marked : made.marked) marks += marked ? '1' : '0';
    INFO(c.tokenizer << " " << c.text);
    CHECK(marks == c.marks);
  }
}

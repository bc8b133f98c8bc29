// The character tokenizer: its vocabulary, its round trip, and how it names what it can't take.
#include <catch2/catch.hpp>

#include "base/error.h"
#include "base/random.h"
#include "base/strings.h"
#include "support/fault.h"
#include "text/tokenizer_contract.h"
#include "text/utf8.h"

using namespace levanter;
using namespace levanter::text;
using levanter::testing::failure_of;

namespace {

std::unique_ptr<const Tokenizer> char_tokenizer(std::string_view text) {
  const std::vector<NamedText> texts = {{text, "poem.txt"}};
  return find_tokenizer("char").make({}, texts);
}

std::string random_text(Key key, size_t length) {
  const uint64_t limits[] = {0x80, 0x800, 0xD800, kScalarLimit};
  std::string out;
  for (size_t i = 0; i < length; ++i) {
    const uint64_t limit = limits[random_below(key, 2 * i, 4)];
    const auto scalar = static_cast<uint32_t>(random_below(key, 2 * i + 1, limit));
    if (scalar < 0xD800 || scalar >= 0xE000) append_scalar(out, scalar);
  }
  return out;
}

}  // namespace

TEST_CASE("char: the vocabulary is the sorted characters of all texts", "[text]") {
  const std::vector<NamedText> texts = {{"hello", "a"}, {"\n\xC3\xA9z", "b"}};
  const auto tokenizer = find_tokenizer("char").make({}, texts);
  CHECK(tokenizer->vocab_size() == 7);
  CHECK(tokenizer->decode({{0, 1, 2, 3, 4, 5, 6}}) == "\nehloz\xC3\xA9");
  CHECK(tokenizer->encode({"zoo", "text"}) == std::vector<int32_t>{5, 4, 4});
  CHECK_THROWS_AS(tokenizer->decode({{7}}), Error);
  CHECK_THROWS_AS(tokenizer->decode({{-1}}), Error);
}

TEST_CASE("char: any Unicode text comes back as it was", "[text]") {
  check_round_trip(*char_tokenizer(""), "");
  check_round_trip(*char_tokenizer(std::string(1, '\0')), std::string(3, '\0'));
  for (uint32_t trial = 0; trial < 50; ++trial) {
    const Key key = fold_in(key_from_seed(2), trial);
    const std::string text = random_text(key, random_below(key, 1 << 20, 200));
    check_round_trip(*char_tokenizer(text), text);
  }
}

TEST_CASE("char: every scalar is read as it was written, and nothing else is UTF-8", "[text]") {
  for (uint32_t scalar = 0; scalar < kScalarLimit; ++scalar) {
    std::string bytes;
    append_scalar(bytes, scalar);
    uint32_t read = 0;
    const int length = read_scalar(bytes, 0, read);
    const bool surrogate = scalar >= 0xD800 && scalar < 0xE000;
    if (length != (surrogate ? 0 : scalar_length(scalar)) || (!surrogate && read != scalar))
      FAIL("scalar " << scalar << " is read as " << read << " of length " << length);
  }
  uint32_t read = 0;
  for (const char* bytes :
       {"\x80", "\xC3", "\xC0\x80", "\xC1\xBF", "\xE0\x80\x80", "\xE2\x82", "\xF0\x80\x80\x80",
        "\xF4\x90\x80\x80", "\xF5\x80\x80\x80", "\xFF", "\xC3\x28", "\xE2\x28\xA1"}) {
    INFO(quote(bytes));
    CHECK(read_scalar(bytes, 0, read) == 0);
  }
}

TEST_CASE("char: text that is not UTF-8 is refused with its place", "[text]") {
  const std::string expected =
      "error: the text is not UTF-8: byte 0xe9\n"
      "  at       poem.txt: byte 7 (line 2)\n"
      "  hint     convert it (iconv -f LATIN1 -t UTF-8), or use the tokenizer \"bytes\", which "
      "takes "
      "any text";
  CHECK(failure_of(ErrorKind::kData, [] { char_tokenizer("one\ncaf\xE9!"); }) == expected);
  CHECK(failure_of(ErrorKind::kData, [] {
          char_tokenizer("cone\naf")->encode({"one\ncaf\xE9", "poem.txt"});
        }) == expected);
}

TEST_CASE("char: a character outside the vocabulary is refused with its place", "[text]") {
  const auto tokenizer = char_tokenizer("abc\n");
  const std::string hint =
      "  hint     the vocabulary is fixed when a run begins: leave the character out, or begin a "
      "new "
      "run on a text that has it";
  CHECK(failure_of(ErrorKind::kData,
                   [&] {
                     tokenizer->encode({"ab\n\xE2\x82\xAC", "the prompt"});
                   }) ==
        "error: the character '\xE2\x82\xAC' (U+20AC) is not in the vocabulary of 4 "
        "characters\n"
        "  at       the prompt: byte 3 (line 2)\n" +
            hint);
  CHECK(failure_of(ErrorKind::kData,
                   [&] {
                     tokenizer->encode({"\t", "more.txt"});
                   }) ==
        "error: the character U+0009 is not in the vocabulary of 4 characters\n"
        "  at       more.txt: byte 0 (line 1)\n" +
            hint);
}

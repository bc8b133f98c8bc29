// Texts that are ids already.
#include <catch2/catch.hpp>

#include "base/error.h"
#include "support/fault.h"
#include "text/tokenizer.h"

using namespace levanter;
using namespace levanter::text;
using levanter::testing::failure_of;

namespace {

std::unique_ptr<const Tokenizer> passthrough() {
  return load_tokenizer(R"({"type":"passthrough","vocab_size":100})", "tokenizer.json");
}

}  // namespace

TEST_CASE("passthrough: numbers are ids, in and out", "[text]") {
  const auto tokenizer = passthrough();
  CHECK(tokenizer->vocab_size() == 100);
  CHECK(tokenizer->encode({" 5 0\n99\t7 ", "text"}) == std::vector<int32_t>{5, 0, 99, 7});
  CHECK(tokenizer->encode({"", "text"}).empty());
  CHECK(tokenizer->decode({{5, 0, 99}}) == "5 0 99");
  CHECK(tokenizer->serialise() == R"({"type":"passthrough","vocab_size":100})");
  CHECK_THROWS_AS(tokenizer->decode({{100}}), Error);
}

TEST_CASE("passthrough: what is no id is refused with its place", "[text]") {
  const auto tokenizer = passthrough();
  CHECK(failure_of(ErrorKind::kData,
                   [&] {
                     tokenizer->encode({"5\n100", "ids.txt"});
                   }) ==
        "error: \"100\" is no id of the vocabulary\n"
        "  at       ids.txt: byte 2 (line 2)\n"
        "  allowed  numbers from 0 to 99, with white space between");
  for (const char* text : {"5x", "x", "-1", "1.5", "99999999999"})
    CHECK_THROWS_AS(tokenizer->encode({text, "text"}), Error);
}

// The byte tokenizer: any bytes at all, in and out.
#include <catch2/catch.hpp>

#include "base/error.h"
#include "base/random.h"
#include "text/tokenizer_contract.h"

using namespace levanter;
using namespace levanter::text;

TEST_CASE("bytes: any bytes come back as they were", "[text]") {
  const auto tokenizer = find_tokenizer("bytes").make({}, {});
  CHECK(tokenizer->vocab_size() == 256);
  std::string all;
  for (int byte = 0; byte < 256; ++byte) all += static_cast<char>(byte);
  check_round_trip(*tokenizer, "");
  check_round_trip(*tokenizer, all);
  for (uint64_t trial = 0; trial < 50; ++trial) {
    const Key key = fold_in(key_from_seed(1), static_cast<uint32_t>(trial));
    std::string text(random_below(key, 0, 300), '\0');
    for (size_t i = 0; i < text.size(); ++i) text[i] = static_cast<char>(random_bits(key, i + 1));
    check_round_trip(*tokenizer, text);
  }
}

TEST_CASE("bytes: an id is the value of its byte", "[text]") {
  const auto tokenizer = find_tokenizer("bytes").make({}, {});
  CHECK(tokenizer->encode({"a\xFF", "text"}) == std::vector<int32_t>{97, 255});
  for (const int32_t id : {-1, 256}) CHECK_THROWS_AS(tokenizer->decode({{id}}), Error);
}

// xxh3 in 64 and 128 bits.
#include "base/hash.h"

#include <catch2/catch.hpp>

using namespace levanter;

TEST_CASE("xxh3 of nothing has its published values", "[base]") {
  CHECK(hex64(xxh3_64(std::string_view{})) == "2d06800538d394c2");
  CHECK(Hasher(Hasher::Width::k64).hex() == "2d06800538d394c2");
  CHECK(Hasher(Hasher::Width::k128).hex() == "99aa06d3014798d86001c324468d497f");
}

TEST_CASE("a hash in pieces equals the hash of the whole", "[base]") {
  std::string text;
  for (int i = 0; i < 5000; ++i) text += static_cast<char>(i * 37 % 251);
  const std::span bytes = std::as_bytes(std::span(text));
  Hasher whole(Hasher::Width::k128);
  whole.update(bytes);
  for (const size_t step : {1u, 7u, 256u, 1025u, 4999u}) {
    Hasher narrow(Hasher::Width::k64), wide(Hasher::Width::k128);
    for (size_t at = 0; at < bytes.size(); at += step) {
      const auto piece = bytes.subspan(at, std::min(step, bytes.size() - at));
      narrow.update(piece);
      wide.update(piece);
    }
    CHECK(narrow.value64() == xxh3_64(text));
    CHECK(wide.hex() == whole.hex());
  }
  whole.reset();
  CHECK(whole.hex() == Hasher(Hasher::Width::k128).hex());
}

TEST_CASE("hexadecimal has sixteen digits, most significant first", "[base]") {
  CHECK(hex64(0) == "0000000000000000");
  CHECK(hex64(0x0123456789abcdef) == "0123456789abcdef");
}

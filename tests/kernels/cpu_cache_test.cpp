// Writing past the caches: memcpy, whatever the addresses and lengths.
#include "kernels/cpu/cache.h"

#include <catch2/catch.hpp>

#include <cstddef>
#include <cstring>
#include <vector>

using namespace levanter::cpu;

TEST_CASE("what is streamed arrives whole, and nothing beside it changes", "[kernels]") {
  constexpr size_t kRoom = 512;
  constexpr auto kUntouched = std::byte{0xee};
  std::vector<std::byte> from(kRoom);
  for (size_t i = 0; i < kRoom; ++i) from[i] = static_cast<std::byte>(i * 7 % 251);
  for (const size_t read_at : {0, 1, 36})
    for (size_t at = 0; at < 130; at += 3)
      for (const size_t bytes : {0, 1, 30, 63, 64, 65, 128, 200, 333}) {
        INFO("from " << read_at << " to " << at << ", " << bytes << " bytes");
        std::vector<std::byte> to(kRoom, kUntouched), expected(kRoom, kUntouched);
        stream(to.data() + at, from.data() + read_at, bytes);
        finish_streams();
        std::memcpy(expected.data() + at, from.data() + read_at, bytes);
        REQUIRE(to == expected);
      }
}

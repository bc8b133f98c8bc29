// The communicator of one rank.
#include <catch2/catch.hpp>

#include <array>
#include <cstring>

#include "base/error.h"
#include "dist/communicator.h"

using namespace levanter;
using dist::Received;
using dist::Sent;

TEST_CASE("one rank receives what it sends", "[dist]") {
  const auto ends = dist::entry("single").make(1);
  REQUIRE(ends.size() == 1);
  CHECK(ends[0]->rank() == 0);
  CHECK(ends[0]->size() == 1);
  const std::array<std::byte, 3> sent = {std::byte{1}, std::byte{0xff}, std::byte{7}};
  std::array<std::byte, 3> received{};
  const Sent send[] = {{sent.data(), sent.size()}};
  const Received receive[] = {{received.data(), received.size()}};
  ends[0]->exchange(send, receive);
  CHECK(received == sent);
}

TEST_CASE("one rank may send itself its own memory, overlapping, or nothing", "[dist]") {
  const auto ends = dist::entry("single").make(1);
  std::array<std::byte, 4> bytes = {std::byte{1}, std::byte{2}, std::byte{3}, std::byte{4}};
  const Sent send[] = {{bytes.data(), 3}};
  const Received receive[] = {{bytes.data() + 1, 3}};
  ends[0]->exchange(send, receive);
  CHECK(bytes == std::array<std::byte, 4>{std::byte{1}, std::byte{1}, std::byte{2}, std::byte{3}});
  const Sent no_bytes[] = {{}};
  const Received no_room[] = {{}};
  CHECK_NOTHROW(ends[0]->exchange(no_bytes, no_room));
}

TEST_CASE("sizes that differ, a second rank and an unknown name are defects", "[dist]") {
  const auto ends = dist::entry("single").make(1);
  std::byte byte{};
  const Sent send[] = {{&byte, 1}};
  const Received receive[] = {{&byte, 0}};
  CHECK_THROWS_AS(ends[0]->exchange(send, receive), Error);
  CHECK_THROWS_AS(dist::entry("single").make(2), Error);
  CHECK_THROWS_WITH(dist::entry("pigeons"),
                    Catch::Contains("there is no communicator \"pigeons\""));
}

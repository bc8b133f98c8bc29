// The communicator of one rank.
#include <catch2/catch.hpp>

#include <array>
#include <stdexcept>

#include "base/error.h"
#include "dist/communicator.h"

using namespace levanter;
using dist::Communicator;
using dist::Received;
using dist::Sent;

namespace {

/// Runs body(end) as the one rank.
template <class Body>
void alone(Body body) {
  int calls = 0;
  dist::run_ranks(dist::entry("single"), 1, [&](Communicator& end) {
    ++calls;
    body(end);
  });
  CHECK(calls == 1);
}

}  // namespace

TEST_CASE("one rank receives what it sends", "[dist]") {
  alone([](Communicator& end) {
    CHECK(end.rank() == 0);
    CHECK(end.size() == 1);
    const std::array<std::byte, 3> sent = {std::byte{1}, std::byte{0xff}, std::byte{7}};
    std::array<std::byte, 3> received{};
    const Sent send[] = {{sent.data(), sent.size()}};
    const Received receive[] = {{received.data(), received.size()}};
    end.exchange(send, receive);
    CHECK(received == sent);
  });
}

TEST_CASE("one rank may send itself its own memory, overlapping, or nothing", "[dist]") {
  alone([](Communicator& end) {
    std::array<std::byte, 4> bytes = {std::byte{1}, std::byte{2}, std::byte{3}, std::byte{4}};
    const Sent send[] = {{bytes.data(), 3}};
    const Received receive[] = {{bytes.data() + 1, 3}};
    end.exchange(send, receive);
    CHECK(bytes ==
          std::array<std::byte, 4>{std::byte{1}, std::byte{1}, std::byte{2}, std::byte{3}});
    const Sent no_bytes[] = {{}};
    const Received no_room[] = {{}};
    CHECK_NOTHROW(end.exchange(no_bytes, no_room));
  });
}

TEST_CASE("one rank tells itself what it says", "[dist]") {
  alone([](Communicator& end) {
    CHECK(dist::any(end, true));
    CHECK_FALSE(dist::any(end, false));
    CHECK(dist::broadcast_text(end, "a text") == "a text");
    CHECK(dist::broadcast_text(end, "").empty());
    CHECK_NOTHROW(dist::barrier(end));
  });
}

TEST_CASE("the error of one rank is that of the run", "[dist]") {
  const auto fail = [](Communicator&) { throw std::runtime_error("as it was thrown"); };
  CHECK_THROWS_WITH(dist::run_ranks(dist::entry("single"), 1, fail), "as it was thrown");
}

TEST_CASE("sizes that differ, a second rank and an unknown name are defects", "[dist]") {
  alone([](Communicator& end) {
    std::byte byte{};
    const Sent send[] = {{&byte, 1}};
    const Received receive[] = {{&byte, 0}};
    CHECK_THROWS_AS(end.exchange(send, receive), Error);
  });
  CHECK_THROWS_AS(dist::run_ranks(dist::entry("single"), 2, [](Communicator&) {}), Error);
  CHECK_THROWS_WITH(dist::entry("pigeons"),
                    Catch::Contains("there is no communicator \"pigeons\""));
}

// Ranks as threads of one process.
#include <catch2/catch.hpp>

#include <atomic>
#include <thread>

#include "base/error.h"
#include "dist/communicator.h"

using namespace levanter;
using dist::Communicator;
using dist::Received;
using dist::Sent;

namespace {

/// Runs body(end) on every rank, each in a thread of its own.
template <class Body>
void on_all(std::vector<std::unique_ptr<Communicator>>& ends, Body body) {
  std::vector<std::jthread> threads;
  for (auto& end : ends) threads.emplace_back([&body, &end] { body(*end); });
}

/// What rank `from` sends to rank `to` in round `round`; its length varies, and may be 0.
std::vector<std::byte> message(int64_t from, int64_t to, int64_t round) {
  return {static_cast<size_t>((from * 5 + to * 3 + round) % 7),
          static_cast<std::byte>(from * 64 + to * 8 + round % 8)};
}

/// True when every message of so many rounds arrived as it was sent.
bool all_arrive(Communicator& end, int64_t rounds) {
  const int64_t ranks = end.size(), me = end.rank();
  bool good = true;
  for (int64_t round = 0; round < rounds; ++round) {
    std::vector<std::vector<std::byte>> out, in, expected;
    std::vector<Sent> send;
    std::vector<Received> receive;
    for (int64_t other = 0; other < ranks; ++other) {
      out.push_back(message(me, other, round));
      expected.push_back(message(other, me, round));
      in.emplace_back(expected.back().size(), std::byte{0xee});
    }
    for (size_t i = 0; i < out.size(); ++i) {
      send.push_back({out[i].data(), out[i].size()});
      receive.push_back({in[i].data(), in[i].size()});
    }
    end.exchange(send, receive);
    good = good && in == expected;
  }
  return good;
}

}  // namespace

TEST_CASE("every rank receives what every other sent it, round after round", "[dist]") {
  for (const int64_t ranks : {1, 2, 3, 5}) {
    auto ends = dist::entry("threads").make(ranks);
    REQUIRE(static_cast<int64_t>(ends.size()) == ranks);
    for (int64_t r = 0; r < ranks; ++r) {
      CHECK(ends[static_cast<size_t>(r)]->rank() == r);
      CHECK(ends[static_cast<size_t>(r)]->size() == ranks);
    }
    std::atomic<int> bad = 0;
    on_all(ends, [&](Communicator& end) { bad += all_arrive(end, 200) ? 0 : 1; });
    CHECK(bad == 0);
  }
}

TEST_CASE("a rank that leaves wakes those that wait, and stops those that come", "[dist]") {
  auto ends = dist::entry("threads").make(3);
  std::atomic<int> stopped = 0;
  on_all(ends, [&](Communicator& end) {
    if (end.rank() == 0) return end.abandon();
    for (int call = 0; call < 2; ++call) {  // waiting in the first, arriving in the second
      try {
        all_arrive(end, 1);
      } catch (const Error& error) {
        stopped += error.message() == "another rank of this run has stopped" ? 1 : 0;
      }
    }
  });
  CHECK(stopped == 4);
}

TEST_CASE("a rank that leaves after an exchange does not spoil it", "[dist]") {
  for (int attempt = 0; attempt < 50; ++attempt) {
    auto ends = dist::entry("threads").make(2);
    std::atomic<int> good = 0;
    on_all(ends, [&](Communicator& end) {
      good += all_arrive(end, 1) ? 1 : 0;
      end.abandon();
    });
    CHECK(good == 2);
  }
}

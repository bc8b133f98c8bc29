// Ranks as threads of one process.
#include <catch2/catch.hpp>

#include <array>
#include <atomic>
#include <thread>

#include "base/error.h"
#include "base/strings.h"
#include "dist/communicator.h"

using namespace levanter;
using dist::Communicator;
using dist::Received;
using dist::Sent;

namespace {

void run(int64_t ranks, const dist::RankBody& body) {
  dist::run_ranks(dist::entry("threads"), ranks, body);
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
    std::atomic<int64_t> bad = 0, calls = 0, sum = 0;
    run(ranks, [&](Communicator& end) {
      ++calls;
      sum += end.rank();
      bad += end.size() == ranks && all_arrive(end, 200) ? 0 : 1;
    });
    CHECK(calls == ranks);
    CHECK(sum == ranks * (ranks - 1) / 2);
    CHECK(bad == 0);
  }
}

TEST_CASE("the first rank runs in the caller's thread", "[dist]") {
  const std::thread::id here = std::this_thread::get_id();
  std::atomic<int> bad = 0;
  run(3, [&](Communicator& end) {
    bad += (end.rank() == 0) == (std::this_thread::get_id() == here) ? 0 : 1;
  });
  CHECK(bad == 0);
}

TEST_CASE("what one rank says, all hear", "[dist]") {
  std::atomic<int> bad = 0;
  run(3, [&](Communicator& end) {
    for (int64_t root = 0; root < 3; ++root) {
      const std::string text = cat("of rank ", root, std::string(1, '\0'), "and more");
      const std::string own = end.rank() == root ? text : "ignored, and of another length";
      bad += dist::broadcast_text(end, own, root) == text ? 0 : 1;
      bad += dist::broadcast_text(end, end.rank() == root ? "" : "x", root).empty() ? 0 : 1;
      std::array<std::byte, 3> bytes{};
      if (end.rank() == root) bytes.fill(std::byte{7});
      dist::broadcast(end, bytes, root);
      bad += bytes == std::array{std::byte{7}, std::byte{7}, std::byte{7}} ? 0 : 1;
      bad += dist::any(end, end.rank() == root) && !dist::any(end, false) ? 0 : 1;
    }
  });
  CHECK(bad == 0);
}

TEST_CASE("nobody passes a barrier before all have come", "[dist]") {
  std::atomic<int> arrived = 0, bad = 0;
  run(4, [&](Communicator& end) {
    for (int round = 1; round <= 50; ++round) {
      ++arrived;
      dist::barrier(end);
      bad += arrived >= 4 * round ? 0 : 1;
      dist::barrier(end);
    }
  });
  CHECK(bad == 0);
}

TEST_CASE("a rank that leaves wakes those that wait, and stops those that come", "[dist]") {
  std::atomic<int> stopped = 0;
  run(3, [&](Communicator& end) {
    if (end.rank() == 0) return end.abandon(ErrorKind::kData);
    for (int call = 0; call < 2; ++call) {  // waiting in the first, arriving in the second
      try {
        all_arrive(end, 1);
      } catch (const dist::Abandoned& told) {
        stopped += told.kind() == ErrorKind::kData ? 1 : 0;
      }
    }
  });
  CHECK(stopped == 4);
}

TEST_CASE("a rank that leaves after an exchange does not spoil it", "[dist]") {
  for (int attempt = 0; attempt < 50; ++attempt) {
    std::atomic<int> good = 0;
    run(2, [&](Communicator& end) {
      good += all_arrive(end, 1) ? 1 : 0;
      end.abandon(ErrorKind::kInternal);
    });
    CHECK(good == 2);
  }
}

TEST_CASE("a run's error is that of the rank that has one of its own", "[dist]") {
  for (const int64_t failing : {0, 2}) {
    INFO("rank " << failing);
    std::atomic<int> told = 0;
    const auto body = [&](Communicator& end) {
      all_arrive(end, 3);
      if (end.rank() == failing) throw Error(ErrorKind::kData, "a text is damaged");
      try {
        all_arrive(end, 1);
      } catch (const dist::Abandoned& elsewhere) {
        told += elsewhere.kind() == ErrorKind::kData ? 1 : 0;
        throw;
      }
    };
    CHECK_THROWS_WITH(run(3, body), Catch::Contains("a text is damaged"));
    CHECK(told == 2);
  }
}

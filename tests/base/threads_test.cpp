// The thread pool, and what counts as an available thread.
#include <catch2/catch.hpp>

#include <atomic>
#include <numeric>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "base/threads.h"

using namespace levanter;

TEST_CASE("every index runs once, whatever the number of threads", "[base]") {
  for (const int threads : {1, 2, 3, 8}) {
    ThreadPool pool(threads);
    REQUIRE(pool.threads() == threads);
    for (const int64_t n : {0, 1, 2, 7, 1000}) {
      std::vector<std::atomic<int>> counts(static_cast<size_t>(n));
      std::atomic<bool> in_range = true;
      pool.parallel_for(n, [&](int64_t index, int worker) {
        counts[static_cast<size_t>(index)].fetch_add(1);
        if (worker < 0 || worker >= threads) in_range = false;
      });
      REQUIRE(in_range);
      for (const auto& count : counts) REQUIRE(count.load() == 1);
    }
  }
}

TEST_CASE("many short loops in a row and with pauses keep their sums", "[base]") {
  ThreadPool pool(4);
  std::vector<int64_t> parts(16);
  for (int round = 0; round < 3000; ++round) {
    pool.parallel_for(
        16, [&](int64_t index, int) { parts[static_cast<size_t>(index)] = index + round; });
    REQUIRE(std::accumulate(parts.begin(), parts.end(), int64_t{0}) == 120 + 16 * round);
    if (round % 500 == 0) std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
}

TEST_CASE("a worker begins with its own share and helps with the others'", "[base]") {
  ThreadPool pool(2);
  for (int round = 0; round < 20; ++round) {
    std::vector<int> worker_of(8, -1);
    std::atomic<int> begun = 0;
    // Nobody goes on before both have begun, so each has the first index of its own share.
    pool.parallel_for(8, [&](int64_t index, int worker) {
      worker_of[static_cast<size_t>(index)] = worker;
      if (index % 4 == 0) {
        begun.fetch_add(1);
        while (begun.load() < 2) std::this_thread::yield();
      }
    });
    REQUIRE(worker_of[0] == 0);
    REQUIRE(worker_of[4] == 1);
  }
  // The second worker is held at its first index until the first has done all others.
  std::atomic<int> done = 0;
  pool.parallel_for(8, [&](int64_t, int worker) {
    while (worker == 1 && done.load() < 7) std::this_thread::yield();
    done.fetch_add(1);
  });
  REQUIRE(done == 8);
}

TEST_CASE("more than one worker takes part", "[base]") {
  ThreadPool pool(2);
  std::atomic<int> arrived = 0;
  // Each of the two calls waits for the other, so one worker alone could not finish.
  pool.parallel_for(2, [&](int64_t, int) {
    arrived.fetch_add(1);
    while (arrived.load() < 2) std::this_thread::yield();
  });
  REQUIRE(arrived == 2);
}

TEST_CASE("the exception of the lowest index reaches the caller and the pool lives on", "[base]") {
  for (const int threads : {1, 4}) {
    ThreadPool pool(threads);
    for (int round = 0; round < 50; ++round) {
      std::string message;
      try {
        pool.parallel_for(100, [](int64_t index, int) {
          if (index >= 17) throw std::runtime_error(std::to_string(index));
        });
      } catch (const std::runtime_error& error) {
        message = error.what();
      }
      REQUIRE(message == "17");
      std::atomic<int64_t> sum = 0;
      pool.parallel_for(10, [&](int64_t index, int) { sum += index; });
      REQUIRE(sum == 45);
    }
  }
}

TEST_CASE("pools of several threads run side by side", "[base]") {
  std::vector<std::thread> ranks;
  std::atomic<int64_t> total = 0;
  for (int rank = 0; rank < 3; ++rank) {
    ranks.emplace_back([&] {
      ThreadPool pool(2);
      for (int round = 0; round < 200; ++round) {
        pool.parallel_for(20, [&](int64_t index, int) { total += index; });
      }
    });
  }
  for (std::thread& rank : ranks) rank.join();
  REQUIRE(total == 3 * 200 * 190);
}

TEST_CASE("a loop inside a loop of the same pool is refused", "[base]") {
  ThreadPool pool(2);
  REQUIRE_THROWS(
      pool.parallel_for(4, [&](int64_t, int) { pool.parallel_for(4, [](int64_t, int) {}); }));
}

TEST_CASE("at least one thread is available", "[base]") {
  REQUIRE(available_threads() >= 1);
  REQUIRE(available_threads() <= 1 << 20);
}

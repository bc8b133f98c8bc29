// Sampling: greedy, the shares of a distribution, top-k, top-p, ties.
#include "infer/sampling.h"

#include <catch2/catch.hpp>

#include <cmath>
#include <vector>

using namespace levanter;
using infer::sample;

namespace {

constexpr int kDraws = 20000;
/// Five standard deviations of a share of a half, estimated from kDraws.
constexpr double kShareTolerance = 5 * 0.5 / 141.4;

const std::vector<float> kLogits = {1.0f, 3.0f, 2.0f, 3.0f, -INFINITY};

/// How often each id is drawn.
std::vector<double> shares(const infer::SamplingOptions& options,
                           const std::vector<float>& logits = kLogits) {
  std::vector<double> share(logits.size());
  for (uint64_t i = 0; i < kDraws; ++i)
    share[static_cast<size_t>(sample(logits, options, key_from_seed(3), i))] += 1.0 / kDraws;
  return share;
}

}  // namespace

TEST_CASE("without temperature the most probable token is taken, of equals the first", "[infer]") {
  for (uint64_t i = 0; i < 20; ++i)
    CHECK(sample(kLogits, {.temperature = 0}, key_from_seed(i), i) == 1);
  CHECK(sample(std::vector<float>{5}, {.temperature = 0}, key_from_seed(0), 0) == 0);
}

TEST_CASE("draws have the shares of the softmax at the temperature", "[infer]") {
  for (const double temperature : {0.5, 1.0, 3.0}) {
    INFO(temperature);
    const std::vector<double> share = shares({.temperature = temperature});
    double total = 0;
    for (const float x : kLogits) total += std::exp(x / temperature);
    for (size_t i = 0; i < kLogits.size(); ++i)
      CHECK(std::abs(share[i] - std::exp(kLogits[i] / temperature) / total) < kShareTolerance);
    CHECK(share[4] == 0);
  }
}

TEST_CASE("top-k draws among the k most probable alone", "[infer]") {
  const std::vector<double> two = shares({.top_k = 2});
  CHECK(two[0] == 0);
  CHECK(two[2] == 0);
  CHECK(std::abs(two[1] - 0.5) < kShareTolerance);
  CHECK(shares({.top_k = 1})[1] > 1 - 1e-9);  // the first of the equals
  CHECK(shares({.top_k = 100}) == shares({}));
}

TEST_CASE("top-p keeps the fewest tokens that reach the probability", "[infer]") {
  // Probabilities 0.4, 0.4, 0.15, 0.05 in order.
  const std::vector<float> logits = {std::log(0.4f), std::log(0.15f), std::log(0.4f),
                                     std::log(0.05f)};
  const auto kept = [&](double top_p) {
    std::vector<size_t> ids;
    const std::vector<double> share = shares({.top_p = top_p}, logits);
    for (size_t i = 0; i < share.size(); ++i)
      if (share[i] > 0) ids.push_back(i);
    return ids;
  };
  CHECK(kept(0) == std::vector<size_t>{0});
  CHECK(kept(0.3) == std::vector<size_t>{0});
  CHECK(kept(0.5) == std::vector<size_t>{0, 2});
  CHECK(kept(0.9) == std::vector<size_t>{0, 1, 2});
  CHECK(kept(1) == std::vector<size_t>{0, 1, 2, 3});
}

TEST_CASE("top-k comes before top-p, whose probabilities are of what is left", "[infer]") {
  const std::vector<float> logits = {std::log(0.4f), std::log(0.3f), std::log(0.2f),
                                     std::log(0.1f)};
  // Of two, 0.4 is 0.57 of the whole: enough for 0.5, not for 0.6.
  CHECK(shares({.top_k = 2, .top_p = 0.5}, logits)[1] == 0);
  CHECK(shares({.top_k = 2, .top_p = 0.6}, logits)[1] > 0);
  CHECK(shares({.top_k = 2, .top_p = 0.99}, logits)[2] == 0);
}

TEST_CASE("a draw is a function of the key and its index", "[infer]") {
  const auto draws = [](uint64_t seed) {
    std::vector<int32_t> ids;
    for (uint64_t i = 0; i < 50; ++i) ids.push_back(sample(kLogits, {}, key_from_seed(seed), i));
    return ids;
  };
  CHECK(draws(1) == draws(1));
  CHECK(draws(1) != draws(2));
}

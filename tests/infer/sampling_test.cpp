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

TEST_CASE("filters leave the probabilities that Transformers 5 leaves", "[infer]") {
  // RepetitionPenaltyLogitsProcessor, then the warpers for temperature, top-k, top-p and min-p.
  const std::vector<float> logits = {2.0, -1.0, 0.5, 3.0, -0.25, 1.5, 2.75, -3.0};
  const std::vector<int32_t> before = {3, 1, 3, 4};
  struct Case {
    infer::SamplingOptions options;
    std::vector<double> probabilities;
  };
  const Case cases[] = {
      {{.repetition_penalty = 1.5},
       {0.1969818, 0.0059483, 0.0439526, 0.1969818, 0.0183222, 0.1194755, 0.4170105, 0.0013273}},
      {{.min_p = 0.2}, {0.1552358, 0, 0, 0.4219747, 0, 0.0941553, 0.3286342, 0}},
      {{.temperature = 0.5, .min_p = 0.05}, {0.0776956, 0, 0, 0.574097, 0, 0, 0.3482074, 0}},
      {{.top_p = 0.8, .min_p = 0.3}, {0.1713713, 0, 0, 0.4658356, 0, 0, 0.3627931, 0}},
      {{.temperature = 1.5, .top_k = 5, .top_p = 0.9, .min_p = 0.1, .repetition_penalty = 1.3},
       {0.2177257, 0, 0, 0.267298, 0, 0.1560073, 0.358969, 0}},
      {{.top_k = 3, .min_p = 0.9}, {0, 0, 0, 1, 0, 0, 0, 0}},
      {{.top_p = 0.6, .repetition_penalty = 0.5}, {0, 0, 0, 1, 0, 0, 0, 0}},
  };
  for (const Case& c : cases) {
    std::vector<double> share(logits.size());
    for (uint64_t i = 0; i < kDraws; ++i)
      share[static_cast<size_t>(sample(logits, c.options, key_from_seed(8), i, before))] +=
          1.0 / kDraws;
    for (size_t id = 0; id < share.size(); ++id) {
      INFO(&c - cases << ", token " << id);
      CHECK(std::abs(share[id] - c.probabilities[id]) < kShareTolerance);
      CHECK((share[id] == 0) == (c.probabilities[id] == 0));
    }
  }
}

TEST_CASE("without temperature the repetition penalty still counts", "[infer]") {
  const std::vector<float> logits = {2.0, 1.5, -1.0};
  const std::vector<int32_t> first = {0}, both = {0, 1};
  const infer::SamplingOptions options{.temperature = 0, .repetition_penalty = 4};
  CHECK(sample(logits, options, {}, 0) == 0);
  CHECK(sample(logits, options, {}, 0, first) == 1);
  CHECK(sample(logits, options, {}, 0, both) == 0);
}

TEST_CASE("a log-probability is the natural one", "[infer]") {
  const std::vector<float> logits = {std::log(0.5f), std::log(0.3f), std::log(0.2f), -INFINITY};
  CHECK(std::abs(infer::log_probability(logits, 1) - std::log(0.3)) < 1e-6);
  CHECK(infer::log_probability(logits, 3) == -INFINITY);
}

TEST_CASE("logits that are not numbers are refused", "[infer]") {
  for (const float bad : {NAN, INFINITY})
    for (const double temperature : {0.0, 1.0})
      CHECK_THROWS_WITH(sample(std::vector<float>{1, bad}, {.temperature = temperature}, {}, 0),
                        Catch::Contains("the model's logits are not numbers"));
}

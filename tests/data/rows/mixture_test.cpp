// Mixtures: exact shares, in an order that is a function of the index.
#include "data/rows/mixture.h"

#include <catch2/catch.hpp>

#include <cmath>
#include <map>
#include <numeric>
#include <set>

#include "base/error.h"
#include "base/strings.h"
#include "support/fault.h"

using namespace levanter;
using namespace levanter::data;
using namespace levanter::testing;

namespace {

/// An endless dataset whose element i is set * 1,000,000,000 + i.
struct Numbers final : Dataset<int64_t> {
  int64_t set;
  explicit Numbers(int64_t s) : set(s) {}
  std::future<std::vector<int64_t>> get_batch(std::span<const int64_t> indices) const override {
    std::vector<int64_t> out;
    for (const int64_t i : indices) out.push_back(set * 1'000'000'000 + i);
    return ready(std::move(out));
  }
  std::future<int64_t> length() const override { return ready(kEndless); }
};

double share_of(const std::vector<double>& weights, size_t set) {
  return weights[set] / std::accumulate(weights.begin(), weights.end(), 0.0);
}

}  // namespace

TEST_CASE("every block meets its quotas, and shares hold to one element", "[data]") {
  for (const std::vector<double>& weights : {std::vector<double>{1},
                                             {1, 1},
                                             {0.7, 0.3},
                                             {1, 2, 4, 8},
                                             {0.5, 0, 0.5},
                                             {0.123, 0.456, 0.789, 1e-3},
                                             {1, 1, 1, 1, 1, 1, 1}})
    for (const int64_t block : {1, 3, 16, 100}) {
      const auto sets = static_cast<int64_t>(weights.size());
      const MixturePlan plan({{0, weights}}, sets, block, key_from_seed(1));
      std::vector<int64_t> before(weights.size());
      for (int64_t b = 1; b <= 600; ++b) {
        const std::vector<int64_t> counts = plan.counts_before(b * block);
        REQUIRE(std::accumulate(counts.begin(), counts.end(), int64_t{0}) == b * block);
        for (size_t i = 0; i < weights.size(); ++i) {
          INFO("set " << i << " block " << b << " of " << block);
          const double share = share_of(weights, i) * static_cast<double>(block);
          const int64_t quota = counts[i] - before[i];
          REQUIRE(static_cast<double>(quota) > share - 1 - 1e-6);
          REQUIRE(static_cast<double>(quota) < share + 1 + 1e-6);
          REQUIRE(std::abs(static_cast<double>(counts[i]) - share * static_cast<double>(b)) <
                  1 + 1e-6);
        }
        before = counts;
      }
    }
}

TEST_CASE("a mixture visits each set in order and without a gap", "[data]") {
  const auto plan = std::make_shared<MixturePlan>(
      std::vector<MixtureStage>{{0, {3, 1, 0}}, {40, {0, 1, 1}}, {200, {1, 1, 1}}}, 3, 20,
      key_from_seed(2));
  std::vector<std::set<int64_t>> seen(3);
  for (int64_t g = 0; g < 1000; ++g) {
    const MixturePlan::Place at = plan->place(g);
    CHECK(seen[static_cast<size_t>(at.source)].insert(at.index).second);
    if (g < 40) CHECK(at.source != 2);
    if (g >= 40 && g < 200) CHECK(at.source != 0);
  }
  for (const std::set<int64_t>& indices : seen)
    CHECK(*indices.rbegin() == static_cast<int64_t>(indices.size()) - 1);
  CHECK(plan->counts_before(40) == std::vector<int64_t>{30, 10, 0});
  CHECK(plan->counts_before(200) == std::vector<int64_t>{30, 90, 80});
  CHECK(plan->stage_of(39) == 0);
  CHECK(plan->stage_of(40) == 1);
}

TEST_CASE("the element at an index does not depend on what was asked before", "[data]") {
  const auto plan = std::make_shared<MixturePlan>(std::vector<MixtureStage>{{0, {0.6, 0.4}}}, 2, 64,
                                                  key_from_seed(3));
  const auto sets = [] {
    return std::vector<DatasetPtr<int64_t>>{std::make_shared<Numbers>(0),
                                            std::make_shared<Numbers>(1)};
  };
  const SyncDataset<int64_t> whole(mixture(sets(), plan, kEndless));
  std::vector<int64_t> all;
  for (int64_t g = 0; g < 3000; ++g) all.push_back(whole[g]);
  const SyncDataset<int64_t> later(mixture(sets(), plan, kEndless));
  for (int64_t g = 2999; g >= 0; g -= 7) CHECK(later[g] == all[static_cast<size_t>(g)]);
  CHECK(plan->place(int64_t{1} << 45).index > (int64_t{1} << 43));
}

TEST_CASE("the stop strategies end where a set would begin anew, or when all are through",
          "[data]") {
  const MixturePlan plan({{0, {1, 3}}}, 2, 8, key_from_seed(4));
  CHECK(plan.length(StopStrategy::kRestart, {5, 5}) == kEndless);
  CHECK(plan.length(StopStrategy::kFirstExhausted, {10, 300}) == 40);   // 2 of the first a block
  CHECK(plan.length(StopStrategy::kFirstExhausted, {1000, 29}) == 32);  // 6 of the second
  CHECK(plan.length(StopStrategy::kAllExhausted, {10, 300}) == 400);
  CHECK(plan.length(StopStrategy::kAllExhausted, {100, 12}) == 400);
  CHECK(plan.length(StopStrategy::kFirstExhausted, {1, 300}) == 0);
}

TEST_CASE("weights and stages that make no mixture are refused", "[data]") {
  const auto fault = [](std::vector<MixtureStage> stages) {
    return failure_of(ErrorKind::kConfig,
                      [&] { MixturePlan(std::move(stages), 2, 10, key_from_seed(1)); });
  };
  CHECK(fault({{0, {1, -1}}}).find("weight is -1") != std::string::npos);
  CHECK(fault({{0, {0, 0}}}).find("all 0") != std::string::npos);
  CHECK(fault({{0, {1, NAN}}}).find("nan") != std::string::npos);
  const std::string inside = fault({{0, {1, 1}}, {15, {1, 2}}});
  CHECK(inside.find("inside a block of 10") != std::string::npos);
  CHECK(inside.find("such as 10") != std::string::npos);
}

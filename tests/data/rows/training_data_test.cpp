// Rows of several components: shares, caps, epochs, and what training never sees.
#include "data/rows/training_data.h"

#include <catch2/catch.hpp>

#include <map>
#include <numeric>
#include <set>

#include "base/error.h"
#include "support/fault.h"

using namespace levanter;
using namespace levanter::data;
using namespace levanter::testing;

namespace {

/// `documents` documents of `length` tokens that count on from 10,000 * number.
ComponentStreams component(const std::string& name, int32_t number, int64_t documents,
                           int64_t length, RowSpec rows = {}) {
  auto stream = std::make_shared<TokenStream>(1 << 20);
  int32_t next = 10000 * number;
  for (int64_t d = 0; d < documents; ++d) {
    std::vector<int32_t> ids(static_cast<size_t>(length));
    std::iota(ids.begin(), ids.end(), next);
    next += static_cast<int32_t>(length);
    stream->append(ids);
  }
  return {name, stream, nullptr, rows};
}

std::vector<Example> rows(const ExampleSource& source, int64_t begin, int64_t end) {
  std::vector<int64_t> indices(static_cast<size_t>(end - begin));
  std::iota(indices.begin(), indices.end(), begin);
  return source.examples->get_batch(indices).get();
}

int32_t component_of(const Example& e) { return e.tokens[0] / 10000; }

TrainingOptions options(std::map<std::string, double> weights, int64_t block = 10) {
  TrainingOptions o{.seq_len = 8, .key = key_from_seed(1)};
  if (!weights.empty()) o.mixture = {{{0, std::move(weights)}}, StopStrategy::kRestart, block};
  return o;
}

}  // namespace

TEST_CASE("weighted components come in their shares, each in epochs of its own", "[data]") {
  const std::vector<ComponentStreams> parts = {component("a", 1, 1, 101), component("b", 2, 1, 801),
                                               component("c", 3, 1, 801)};
  const ExampleSource source = training_rows(parts, options({{"a", 3}, {"b", 2}}));
  std::map<int32_t, std::multiset<int32_t>> firsts;
  for (const Example& e : rows(source, 0, 400)) firsts[component_of(e)].insert(e.tokens[0]);
  CHECK(firsts[1].size() == 240);
  CHECK(firsts[2].size() == 160);
  CHECK(firsts.count(3) == 0);
  // 11 windows an epoch of a: every 11 in the order of a's own rows are one epoch.
  std::vector<int32_t> order;
  for (const Example& e : rows(source, 0, 400))
    if (component_of(e) == 1) order.push_back(e.tokens[0]);
  std::set<std::set<int32_t>> epochs;
  for (size_t epoch = 0; epoch + 1 < order.size() / 11; ++epoch)
    epochs.insert(std::set<int32_t>(order.begin() + static_cast<int64_t>(11 * epoch),
                                    order.begin() + static_cast<int64_t>(11 * epoch + 11)));
  CHECK(epochs.size() > 3);  // differently cut
}

TEST_CASE("rows after a resume are the rows of the run that was not stopped", "[data]") {
  const std::vector<ComponentStreams> parts = {component("a", 1, 40, 13),
                                               component("b", 2, 30, 7, {.pack = PackOptions{}})};
  for (const auto& weights : {std::map<std::string, double>{}, {{"a", 0.7}, {"b", 0.3}}}) {
    const ExampleSource whole = training_rows(parts, options(weights));
    const std::vector<Example> all = rows(whole, 0, 500);
    for (const int64_t step : {1, 7, 50, 333}) {
      const ExampleSource again = training_rows(parts, options(weights));
      const std::vector<Example> later = rows(again, step, step + 20);
      const std::vector<double> sums = [&] {
        std::vector<int64_t> indices(20);
        std::iota(indices.begin(), indices.end(), step);
        return again.loss_tokens->get_batch(indices).get();
      }();
      for (size_t i = 0; i < later.size(); ++i) {
        const Example& want = all[static_cast<size_t>(step) + i];
        REQUIRE(later[i].tokens == want.tokens);
        REQUIRE(later[i].segment_ids == want.segment_ids);
        REQUIRE(sums[i] == std::accumulate(want.loss_weight.begin(), want.loss_weight.end(), 0.0));
      }
    }
  }
}

TEST_CASE("a cap and a share of the rows use a component's first rows only", "[data]") {
  const std::vector<ComponentStreams> parts = {component("a", 1, 1, 1001)};
  TrainingOptions o = options({});
  o.most_rows["a"] = 5;
  CHECK(training_rows(parts, o).epoch_length == 5);
  for (const Example& e : rows(training_rows(parts, o), 0, 50)) CHECK(e.tokens[0] < 10000 + 48);
  o = options({});
  o.share_of_rows = 0.1;
  CHECK(training_rows(parts, o).epoch_length == 12);
  o.share_of_rows = 1e-9;
  CHECK(training_rows(parts, o).epoch_length == 1);
}

TEST_CASE("packed rows are the same in every epoch, in another order", "[data]") {
  const std::vector<ComponentStreams> parts = {component("a", 1, 50, 5, {.pack = PackOptions{}})};
  const ExampleSource source = training_rows(parts, options({}));
  CHECK(source.epoch_length == 25);
  CHECK_FALSE(source.one_segment);
  std::set<std::vector<int32_t>> first, second, orders;
  for (const Example& e : rows(source, 0, 25)) first.insert(e.tokens);
  for (const Example& e : rows(source, 25, 50)) second.insert(e.tokens);
  CHECK(first == second);
  CHECK(first.size() == 25);
  CHECK(rows(source, 0, 1)[0].tokens != rows(source, 25, 26)[0].tokens);
}

TEST_CASE("a mixture ends where its strategy says", "[data]") {
  const std::vector<ComponentStreams> parts = {component("a", 1, 1, 101),
                                               component("b", 2, 1, 801)};
  TrainingOptions o = options({{"a", 1}, {"b", 1}});
  o.mixture->stop = StopStrategy::kFirstExhausted;
  CHECK(training_rows(parts, o).examples->length().get() == 20);  // 11 rows of a, 5 a block
  o.mixture->stop = StopStrategy::kAllExhausted;
  CHECK(training_rows(parts, o).examples->length().get() == 200);  // 99 rows of b
}

TEST_CASE("weights of unknown components and components without rows are refused", "[data]") {
  const std::vector<ComponentStreams> parts = {component("a", 1, 1, 101)};
  const std::string unknown = failure_of(ErrorKind::kConfig, [&] {
    training_rows(parts, options({{"x", 1}}));
  });
  CHECK(unknown.find("\"x\"") != std::string::npos);
  CHECK(unknown.find("allowed  a") != std::string::npos);
  const std::vector<ComponentStreams> empty = {component("e", 1, 3, 1, {.pack = PackOptions{}})};
  CHECK(failure_of(ErrorKind::kData, [&] {
          training_rows(empty, options({}));
        }).find("\"e\" gives no row") != std::string::npos);
  const std::vector<ComponentStreams> longer = {
      component("l", 1, 3, 30, {.pack = PackOptions{.too_long = TooLong::kRefuse}})};
  CHECK_THAT(failure_of(ErrorKind::kData, [&] { training_rows(longer, options({})); }),
             Catch::Contains("document 1 has 30 tokens") && Catch::Contains("data.components.l"));
}

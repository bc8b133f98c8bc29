// Token streams and the windows that are cut from them.
#include "data/token_stream.h"

#include <catch2/catch.hpp>

#include <numeric>
#include <set>

#include "base/error.h"
#include "base/strings.h"

using namespace levanter;
using namespace levanter::data;

namespace {

using Ids = std::vector<int32_t>;

std::shared_ptr<const TokenStream> counting_stream(int32_t size, int64_t vocab_size = 1000) {
  Ids ids(static_cast<size_t>(size));
  std::iota(ids.begin(), ids.end(), 0);
  auto stream = std::make_shared<TokenStream>(vocab_size);
  stream->append(ids);
  return stream;
}

double sum(const std::vector<float>& values) {
  return std::accumulate(values.begin(), values.end(), 0.0);
}

}  // namespace

TEST_CASE("a stream gives back its ids, whatever their width", "[data]") {
  for (const int64_t vocab_size : {65536, 65537}) {
    TokenStream stream(vocab_size);
    stream.append(Ids{1, 65535});
    stream.append({});
    stream.append(Ids{7});
    CHECK(stream.size() == 3);
    CHECK(stream.num_documents() == 2);
    CHECK(stream.documents_begun(0, 3) == 2);
    CHECK(stream.documents_begun(1, 3) == 1);
    CHECK(stream.documents_begun(1, 2) == 0);
    Ids out(2);
    stream.read(1, out);
    CHECK(out == Ids{65535, 7});
    CHECK_THROWS_AS(stream.read(2, out), Error);
  }
}

TEST_CASE("window i is the ids from i T + o on, one more than T", "[data]") {
  const SyncDataset<Example> cut(windows(counting_stream(20), {4, 3, 4}));
  CHECK(cut.size() == 4);
  for (int32_t i = 0; i < 4; ++i) {
    const int32_t first = 4 * i + 3;
    const Example e = cut[i];
    CHECK(e.tokens == Ids{first, first + 1, first + 2, first + 3});
    CHECK(e.targets == Ids{first + 1, first + 2, first + 3, first + 4});
    CHECK(e.loss_weight == std::vector<float>{1, 1, 1, 1});
    CHECK(e.segment_ids == Ids{0, 0, 0, 0});
    CHECK(e.positions == Ids{0, 1, 2, 3});
  }
}

TEST_CASE("in training every window fits, and no target comes twice in an epoch", "[data]") {
  for (int32_t size = 0; size <= 40; ++size) {
    for (int64_t seq_len = 1; seq_len <= 7; ++seq_len) {
      const auto stream = counting_stream(size);
      std::set<int64_t> offsets;
      for (uint32_t epoch = 0; epoch < 60; ++epoch) {
        const WindowPlan plan = training_plan(*stream, seq_len, fold_in(key_from_seed(1), epoch));
        INFO("size " << size << " seq_len " << seq_len << " offset " << plan.offset);
        REQUIRE(plan.count == (size <= seq_len ? 0 : std::max<int64_t>(1, size / seq_len - 1)));
        if (plan.count == 0) break;
        offsets.insert(plan.offset);
        const SyncDataset<Example> cut(windows(stream, plan));
        std::set<int32_t> targets;
        for (int64_t i = 0; i < plan.count; ++i) {
          const Example e = cut[i];
          REQUIRE(sum(e.loss_weight) == static_cast<double>(seq_len));
          targets.insert(e.targets.begin(), e.targets.end());
        }
        REQUIRE(static_cast<int64_t>(targets.size()) == plan.count * seq_len);
        REQUIRE(size - plan.count * seq_len < 2 * seq_len + 1);
      }
      // Long streams use every offset below seq_len.
      if (size >= 2 * seq_len) {
        CHECK(*offsets.begin() == 0);
        CHECK(*offsets.rbegin() == seq_len - 1);
        CHECK(static_cast<int64_t>(offsets.size()) == seq_len);
      }
    }
  }
}

TEST_CASE("in evaluation every token but the first is a target once, and the tail is padded",
          "[data]") {
  for (int32_t size = 2; size <= 30; ++size) {
    for (int64_t seq_len = 1; seq_len <= 9; ++seq_len) {
      const auto stream = counting_stream(size);
      const WindowPlan plan = evaluation_plan(*stream, seq_len);
      CHECK(plan.offset == 0);
      const SyncDataset<Example> cut(windows(stream, plan));
      const SyncDataset<double> loss_tokens(window_loss_tokens(stream, plan));
      int32_t next = 1;
      for (int64_t i = 0; i < plan.count; ++i) {
        const Example e = cut[i];
        CHECK(loss_tokens[i] == sum(e.loss_weight));
        for (size_t t = 0; t < e.targets.size(); ++t) {
          if (e.loss_weight[t] == 0) continue;
          CHECK(e.loss_weight[t] == 1);
          CHECK(e.tokens[t] == next - 1);
          CHECK(e.targets[t] == next++);
        }
      }
      CHECK(next == size);
    }
  }
  const Example last = SyncDataset(windows(counting_stream(7), {4, 0, 2}))[1];
  CHECK(last.tokens == Ids{4, 5, 6, 0});
  CHECK(last.targets == Ids{5, 6, 0, 0});
  CHECK(last.loss_weight == std::vector<float>{1, 1, 0, 0});
  CHECK(last.segment_ids == Ids{0, 0, 0, kPaddingSegment});
  CHECK(last.positions == Ids{0, 1, 2, 3});
}

TEST_CASE("a target in another document than its token has no weight", "[data]") {
  auto stream = std::make_shared<TokenStream>(1000);
  stream->append(Ids{10, 11, 12});
  stream->append(Ids{20});
  stream->append(Ids{30, 31, 32, 33, 34});
  const WindowPlan plan{4, 0, 2};
  const SyncDataset<Example> cut(windows(stream, plan));
  CHECK(cut[0].tokens == Ids{10, 11, 12, 20});
  CHECK(cut[0].targets == Ids{11, 12, 20, 30});
  CHECK(cut[0].segment_ids == Ids{0, 0, 0, 1});
  CHECK(cut[0].loss_weight == std::vector<float>{1, 1, 0, 0});
  CHECK(cut[1].segment_ids == Ids{0, 0, 0, 0});
  CHECK(cut[1].loss_weight == std::vector<float>{1, 1, 1, 1});
  const SyncDataset<double> loss_tokens(window_loss_tokens(stream, plan));
  CHECK(loss_tokens[0] == 2);
  CHECK(loss_tokens[1] == 4);
}

TEST_CASE("a part of a stream is a stream, a torn document begins with what is left", "[data]") {
  auto stream = std::make_shared<TokenStream>(1000);
  stream->append(Ids{0, 1, 2, 3}, std::vector<float>{1, 2, 3, 4});
  stream->append(Ids{10, 11, 12}, std::vector<float>{5, 6, 7});
  stream->append(Ids{20, 21}, std::vector<float>{8, 9});
  for (int64_t begin = 0; begin <= 9; ++begin)
    for (int64_t end = begin; end <= 9; ++end) {
      INFO(begin << " to " << end);
      const auto part = TokenStream::part(stream, begin, end);
      REQUIRE(part->size() == end - begin);
      Ids got(static_cast<size_t>(end - begin)), all(9);
      std::vector<float> weights(got.size()), all_weights(9);
      part->read(0, got);
      stream->read(0, all);
      part->read_weights(0, weights);
      stream->read_weights(0, all_weights);
      CHECK(got == Ids(all.begin() + begin, all.begin() + end));
      CHECK(weights == std::vector<float>(all_weights.begin() + begin, all_weights.begin() + end));
      std::vector<int64_t> starts;
      if (begin < end) starts.push_back(0);
      for (const int64_t start : {4, 7})
        if (start > begin && start < end) starts.push_back(start - begin);
      CHECK(part->document_starts(0, end - begin) == starts);
      REQUIRE(part->num_documents() == static_cast<int64_t>(starts.size()));
      for (size_t d = 0; d < starts.size(); ++d)
        CHECK(part->document_start(static_cast<int64_t>(d)) == starts[d]);
      const auto half = TokenStream::part(part, part->size() / 2, part->size());
      CHECK(half->size() == part->size() - part->size() / 2);
      if (half->size() > 0) CHECK(half->document_start(0) == 0);
    }
}

TEST_CASE("documents of a window are apart, or not, as is asked", "[data]") {
  auto stream = std::make_shared<TokenStream>(1000);
  stream->append(Ids{0, 1, 2}, std::vector<float>{1, 1, 2});
  stream->append(Ids{10, 11, 12}, std::vector<float>{3, 1, 1});
  const auto window = [&](DocumentBorders borders) {
    const WindowPlan plan{5, 0, 1, borders};
    return std::pair(SyncDataset<Example>(windows(stream, plan))[0],
                     SyncDataset<double>(window_loss_tokens(stream, plan))[0]);
  };
  const auto [apart, apart_sum] = window({});
  CHECK(apart.segment_ids == Ids{0, 0, 0, 1, 1});
  CHECK(apart.positions == Ids{0, 1, 2, 3, 4});
  CHECK(apart.loss_weight == std::vector<float>{1, 2, 0, 1, 1});
  CHECK(apart_sum == 5);
  const auto [across, across_sum] = window({.crosses = true});
  CHECK(across.segment_ids == Ids{0, 0, 0, 0, 0});
  CHECK(across.loss_weight == std::vector<float>{1, 2, 3, 1, 1});
  CHECK(across_sum == 8);
  CHECK(window({.reset_positions = true}).first.positions == Ids{0, 1, 2, 0, 1});
}

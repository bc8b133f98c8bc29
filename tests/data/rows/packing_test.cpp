// Packing: every token once, no document torn, segments and weights where they belong.
#include "data/rows/packing.h"

#include <catch2/catch.hpp>

#include <algorithm>
#include <map>
#include <numeric>

#include "base/error.h"
#include "base/random.h"
#include "support/fault.h"

using namespace levanter;
using namespace levanter::data;
using namespace levanter::testing;

namespace {

/// Documents of these lengths; token t of document d is 100 d + t, weights are 1 / 2 / 3 in turn.
std::shared_ptr<const TokenStream> stream_of(const std::vector<int64_t>& lengths) {
  auto stream = std::make_shared<TokenStream>(1 << 20);
  int32_t d = 0;
  for (const int64_t length : lengths) {
    std::vector<int32_t> ids(static_cast<size_t>(length));
    std::iota(ids.begin(), ids.end(), 100 * d++);
    std::vector<float> weights;
    for (size_t t = 0; t < ids.size(); ++t) weights.push_back(static_cast<float>(1 + t % 3));
    stream->append(ids, weights);
  }
  return stream;
}

std::vector<int64_t> random_lengths(uint64_t seed, int64_t count, uint64_t most) {
  std::vector<int64_t> lengths;
  for (int64_t i = 0; i < count; ++i)
    lengths.push_back(1 + static_cast<int64_t>(
                              random_below(key_from_seed(seed), static_cast<uint64_t>(i), most)));
  return lengths;
}

}  // namespace

TEST_CASE("packing keeps every token once, with its target and weight", "[data]") {
  for (const PackOrder order : {PackOrder::kGreedy, PackOrder::kBestFit})
    for (const bool reset : {false, true}) {
      const std::vector<int64_t> lengths = random_lengths(1, 300, 33);
      const auto stream = stream_of(lengths);
      const PackOptions options{.seq_len = 32, .order = order, .reset_positions = reset};
      const auto plan = std::make_shared<PackPlan>(*stream, options);
      const SyncDataset<Example> rows(packed(stream, plan));
      const SyncDataset<double> sums(packed_loss_tokens(stream, plan));
      std::map<int32_t, int> tokens;
      for (int64_t r = 0; r < rows.size(); ++r) {
        const Example e = rows[r];
        double weight = 0;
        for (size_t t = 0; t < 32; ++t) {
          weight += static_cast<double>(e.loss_weight[t]);
          if (e.segment_ids[t] == kPaddingSegment) {
            CHECK(e.loss_weight[t] == 0);
            continue;
          }
          ++tokens[e.tokens[t]];
          CHECK(e.targets[t] == e.tokens[t] + 1);
          CHECK(e.loss_weight[t] == static_cast<float>(1 + (e.tokens[t] % 100 + 1) % 3));
          CHECK(e.positions[t] == (reset ? e.tokens[t] % 100 : static_cast<int32_t>(t)));
          if (t > 0 && e.segment_ids[t] == e.segment_ids[t - 1])
            CHECK(e.tokens[t] == e.tokens[t - 1] + 1);
          else if (t > 0)
            CHECK(e.segment_ids[t] == e.segment_ids[t - 1] + 1);
        }
        CHECK(sums[r] == weight);
      }
      size_t wanted = 0;
      for (size_t d = 0; d < lengths.size(); ++d)
        for (int64_t t = 0; t + 1 < lengths[d]; ++t, ++wanted)
          REQUIRE(tokens[static_cast<int32_t>(100 * static_cast<int64_t>(d) + t)] == 1);
      CHECK(tokens.size() == wanted);
    }
}

TEST_CASE("greedy packing keeps the order, best fit leaves less room", "[data]") {
  const auto stream = stream_of(random_lengths(2, 400, 33));
  const PackPlan greedy(*stream, {.seq_len = 32});
  const PackPlan best(*stream, {.seq_len = 32, .order = PackOrder::kBestFit});
  int64_t last = -1;
  for (int64_t r = 0; r < greedy.rows(); ++r)
    for (const int64_t d : greedy.documents(r)) {
      CHECK(d > last);
      last = d;
    }
  CHECK(best.rows() < greedy.rows());
  const PackPlan alone(*stream, {.seq_len = 32, .alone = true});
  for (int64_t r = 0; r < alone.rows(); ++r) CHECK(alone.documents(r).size() == 1);
  const PackPlan few(*stream, {.seq_len = 32, .most_segments = 2});
  for (int64_t r = 0; r < few.rows(); ++r) CHECK(few.documents(r).size() <= 2);
}

TEST_CASE("a document that is too long is cut, dropped or refused, as was said", "[data]") {
  const auto stream = stream_of({5, 12, 5});
  const auto row = [&](TooLong too_long, int64_t r) {
    const auto plan = std::make_shared<PackPlan>(
        *stream, PackOptions{.seq_len = 8, .too_long = too_long, .alone = true});
    return SyncDataset<Example>(packed(stream, plan))[r];
  };
  CHECK(row(TooLong::kKeepHead, 1).tokens.front() == 100);
  CHECK(row(TooLong::kKeepHead, 1).targets.back() == 108);
  CHECK(row(TooLong::kKeepTail, 1).tokens.front() == 103);
  CHECK(row(TooLong::kKeepTail, 1).targets.back() == 111);
  CHECK(row(TooLong::kDrop, 1).tokens.front() == 200);
  const PackPlan dropping(*stream, {.seq_len = 8, .too_long = TooLong::kDrop});
  CHECK(dropping.counts().dropped == 1);
  const std::string fault =
      failure_of(ErrorKind::kData, [&] { PackPlan(*stream, {.seq_len = 8}); });
  CHECK(fault.find("document 2 has 12 tokens") != std::string::npos);
}

TEST_CASE("a document whose targets are all cut off is in no row, and counted", "[data]") {
  auto stream = std::make_shared<TokenStream>(256);
  const auto add = [&](size_t length, size_t learned_from) {
    std::vector<float> weights(length, 1.0f);
    std::fill_n(weights.begin(), std::min(learned_from, length), 0.0f);
    stream->append(std::vector<int32_t>(length, 7), weights);
  };
  add(4, 2);
  add(12, 10);  // cut to 9 tokens, none of which is learned
  add(3, 3);
  add(12, 8);
  PackOptions options{.seq_len = 8, .too_long = TooLong::kKeepHead};
  const PackPlan head(*stream, options);
  CHECK(head.counts().unlearned == 2);
  CHECK(head.rows() == 2);
  CHECK(head.documents(1)[0] == 3);
  options.too_long = TooLong::kKeepTail;
  CHECK(PackPlan(*stream, options).counts().unlearned == 1);
}

TEST_CASE("where attention crosses borders a packed row is one segment", "[data]") {
  const auto stream = stream_of({4, 5});
  const PackOptions options{.seq_len = 8, .crosses = true, .reset_positions = false};
  const auto plan = std::make_shared<PackPlan>(*stream, options);
  const Example row = SyncDataset<Example>(packed(stream, plan))[0];
  CHECK(row.segment_ids == std::vector<int32_t>{0, 0, 0, 0, 0, 0, 0, kPaddingSegment});
  CHECK(row.targets[2] == 3);
  CHECK(row.tokens[3] == 100);
}

namespace {

/// Pairs of answers of these lengths, each behind a prompt of two tokens that weighs nothing.
std::shared_ptr<const TokenStream> pairs_of(const std::vector<int64_t>& lengths) {
  auto stream = std::make_shared<TokenStream>(1 << 20);
  for (size_t d = 0; d < lengths.size(); ++d) {
    std::vector<int32_t> ids(static_cast<size_t>(lengths[d]));
    std::iota(ids.begin(), ids.end(), static_cast<int32_t>(100 * d));
    std::vector<float> weights(ids.size(), 1.0f);
    std::fill_n(weights.begin(), 2, 0.0f);
    stream->append(ids, weights);
  }
  return stream;
}

}  // namespace

TEST_CASE("pairs stay together in a row, the chosen answer before the rejected one", "[data]") {
  std::vector<int64_t> lengths;
  for (const int64_t length : random_lengths(4, 80, 12)) lengths.push_back(2 + length);
  const auto stream = pairs_of(lengths);
  for (const PackOrder order : {PackOrder::kGreedy, PackOrder::kBestFit})
    for (const bool alone : {false, true}) {
      const PackOptions options{.seq_len = 40, .order = order, .alone = alone, .pairs = true};
      const auto plan = std::make_shared<PackPlan>(*stream, options);
      const SyncDataset<Example> rows(packed(stream, plan));
      const SyncDataset<double> counts(packed_loss_tokens(stream, plan));
      std::vector<int> seen(lengths.size());
      for (int64_t r = 0; r < plan->rows(); ++r) {
        const auto documents = plan->documents(r);
        REQUIRE(documents.size() % 2 == 0);
        CHECK((!alone || documents.size() == 2));
        for (size_t i = 0; i < documents.size(); ++i) {
          ++seen[static_cast<size_t>(documents[i])];
          CHECK(documents[i] % 2 == static_cast<int64_t>(i % 2));
          CHECK(documents[i] / 2 == documents[i - i % 2] / 2);
        }
        const Example row = rows[r];
        CHECK(counts[r] == static_cast<double>(documents.size() / 2));
        CHECK(counts[r] == static_cast<double>(pairs_of(row.segment_ids)));
        CHECK(row.reference_logps.empty());
        for (size_t t = 0; t < row.tokens.size(); ++t)
          if (row.segment_ids[t] != kPaddingSegment) {
            const int64_t document = documents[static_cast<size_t>(row.segment_ids[t])];
            CHECK(row.tokens[t] == 100 * document + row.positions[t]);
            CHECK(row.loss_weight[t] == (row.positions[t] == 0 ? 0 : 1));
          }
      }
      CHECK(std::all_of(seen.begin(), seen.end(), [](int times) { return times == 1; }));
      CHECK(plan->counts().cut == 0);
    }
}

TEST_CASE("no more pairs share a row than it has segments for", "[data]") {
  const auto stream = pairs_of(std::vector<int64_t>(12, 3));
  const PackPlan plan(*stream, {.seq_len = 100, .most_segments = 5, .pairs = true});
  CHECK(plan.rows() == 3);
}

TEST_CASE("a pair that is too long is cut where it is longer, dropped as a whole or refused",
          "[data]") {
  const auto stream = pairs_of({4, 5, 30, 6, 20, 20, 4, 4});
  PackOptions options{.seq_len = 20, .too_long = TooLong::kKeepHead, .pairs = true};
  CHECK(is_too_long(*stream, 2, options));
  CHECK_FALSE(is_too_long(*stream, 0, options));
  CHECK(piece_of(*stream, 2, options).positions == 15);  // what the other answer leaves
  CHECK(piece_of(*stream, 3, options).positions == 5);
  CHECK(piece_of(*stream, 4, options).positions == 10);  // half each
  CHECK(piece_of(*stream, 5, options).positions == 10);
  CHECK(PackPlan(*stream, options).counts().cut == 3);  // not the answer of 6 tokens
  options.too_long = TooLong::kKeepTail;
  CHECK(piece_of(*stream, 2, options).begin == stream->document_start(3) - 16);
  options.too_long = TooLong::kDrop;
  CHECK(PackPlan(*stream, options).counts().dropped == 4);
  options.too_long = TooLong::kRefuse;
  CHECK_THAT(failure_of(ErrorKind::kData, [&] { PackPlan(*stream, options); }),
             Catch::Contains("the answers of pair 2 have 30 tokens and 6 with their prompts, more "
                             "than the 22 of a row that holds both"));
  // Of a pair of which one answer keeps nothing to learn, neither is.
  const PackPlan tiny(*stream, {.seq_len = 2, .too_long = TooLong::kKeepHead, .pairs = true});
  CHECK(tiny.rows() == 0);
  CHECK(tiny.counts().unlearned == 8);
}

TEST_CASE("a pair whose answers are cut to the same tokens is left out and counted", "[data]") {
  TokenStream stream(1 << 20);
  std::vector<int32_t> ids(20);
  std::iota(ids.begin(), ids.end(), 0);
  for (const int32_t last : {100, 200, 300, 400}) {  // of pairs that differ in the last token only
    ids.back() = last;
    stream.append(ids, std::vector<float>(ids.size(), 1.0f));
  }
  const PackPlan head(stream, {.seq_len = 30, .too_long = TooLong::kKeepHead, .pairs = true});
  CHECK(head.rows() == 0);
  CHECK(head.counts().unlearned == 4);
  CHECK(head.counts().cut == 0);
  CHECK(head.counts().learned == 0);
  const PackPlan tail(stream, {.seq_len = 30, .too_long = TooLong::kKeepTail, .pairs = true});
  CHECK(tail.rows() == 2);
  CHECK(tail.counts().unlearned == 0);
  CHECK(tail.counts().cut == 4);
}

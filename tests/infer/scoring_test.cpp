// Rolling log-likelihood: which window scores a token, and that nothing beside a document matters.
#include "infer/scoring.h"

#include <catch2/catch.hpp>

#include <algorithm>
#include <cmath>

#include "device/backends.h"
#include "infer/sampling.h"
#include "infer/small_model.h"
#include "support/instruction_set.h"

using namespace levanter;
using testing::kSmallVocab;

namespace {

/// A loss and log-softmax of the logits behind it are computed by different kernels.
constexpr double kLossTolerance = 2e-5;
constexpr int64_t kLength = 8;

struct Small {
  explicit Small(int64_t rows, int threads = 1)
      : rows(rows),
        backend(device::make_backend("cpu", threads)),
        model({models::entry("gpt2"), config}, kSmallVocab, rows, *backend) {
    testing::draw_parameters(model);
  }
  std::vector<infer::Document> scored(std::vector<infer::Document> documents, int64_t stride) {
    infer::score(model, documents, rows, stride);
    return documents;
  }
  int64_t rows;
  Gpt2Config config = testing::small_config();
  std::unique_ptr<Backend> backend;
  infer::InferenceModel model;
};

infer::Document document(uint64_t seed, int64_t count) {
  infer::Document d;
  for (int64_t i = 0; i < count; ++i)
    d.ids.push_back(static_cast<int32_t>(
        random_below(key_from_seed(seed), static_cast<uint64_t>(i), kSmallVocab)));
  return d;
}

/// The first token that the window sees which scores token `target` of `count`: windows end at
/// kLength, kLength + stride, ... and at the document's last token.
int64_t window_begin(int64_t target, int64_t count, int64_t stride) {
  int64_t end = kLength;
  while (end < target) end += stride;
  return std::max<int64_t>(0, std::min(end, count - 1) - kLength);
}

/// To the bit where the machine's products allow it.
bool same_scores(const infer::Document& a, const infer::Document& b) {
  if (testing::rows_keep_their_bits()) return a.logprobs == b.logprobs;
  const auto near = [](float x, float y) { return std::abs(x - y) < kLossTolerance; };
  return std::ranges::equal(a.logprobs, b.logprobs, near);
}

}  // namespace

TEST_CASE("each token is scored after the tokens before it in its window", "[infer]") {
  Small small(3);
  for (const int64_t stride : {1, 3, 8})
    for (const int64_t count : {2, 8, 9, 10, 30}) {
      INFO(count << " tokens, stride " << stride);
      const infer::Document d = small.scored({document(7, count)}, stride)[0];
      REQUIRE(d.logprobs.size() == d.ids.size() - 1);
      for (int64_t target = 1; target < count; ++target) {
        const int64_t begin = window_begin(target, count, stride);
        const auto before = std::span(d.ids).subspan(static_cast<size_t>(begin),
                                                     static_cast<size_t>(target - begin));
        const auto at = static_cast<size_t>(target);
        CHECK(std::abs(d.logprobs[at - 1] - infer::log_probability(small.model.next_logits(before),
                                                                   d.ids[at])) < kLossTolerance);
      }
    }
}

TEST_CASE("a document's scores are the same alone and among others, on any threads", "[infer]") {
  std::vector<infer::Document> documents;
  for (const int64_t count : {9, 1, 0, 40, 2, 17})
    documents.push_back(document(static_cast<uint64_t>(count), count));
  const auto expected = Small(1).scored(documents, 3);
  CHECK(expected[1].logprobs.empty());
  CHECK(expected[2].logprobs.empty());
  for (const int64_t rows : {2, 7, 64})
    for (const int threads : {1, 2}) {
      const auto found = Small(rows, threads).scored(documents, 3);
      for (size_t i = 0; i < found.size(); ++i) CHECK(same_scores(found[i], expected[i]));
    }
  CHECK(same_scores(Small(2).scored({documents[3]}, 3)[0], expected[3]));
}

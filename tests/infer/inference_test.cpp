// A model's parameters in memory: token losses, next-token logits, generation.
#include "infer/inference.h"

#include <catch2/catch.hpp>

#include <cmath>

#include "device/backends.h"
#include "infer/generation.h"
#include "infer/small_model.h"

using namespace levanter;
using testing::kSmallVocab;

namespace {

/// A loss and log-softmax of the logits behind it are computed by different kernels.
constexpr double kLossTolerance = 2e-5;
/// Logits of a few units, of activations that have 8 bits.
constexpr double kBf16LogitTolerance = 0.05;
constexpr int64_t kBatch = 3;

struct Small {
  explicit Small(const char* device = "cpu", int threads = 1, DType compute = DType::f32)
      : backend(device::make_backend(device, threads)),
        model({models::entry("gpt2"), config}, kSmallVocab, kBatch, *backend, compute) {
    testing::draw_parameters(model);
  }

  Gpt2Config config = testing::small_config();
  std::unique_ptr<Backend> backend;
  infer::InferenceModel model;
};

std::vector<int32_t> random_tokens(int64_t count) {
  std::vector<int32_t> tokens;
  for (int64_t i = 0; i < count; ++i)
    tokens.push_back(static_cast<int32_t>(
        random_below(key_from_seed(9), static_cast<uint64_t>(i), kSmallVocab)));
  return tokens;
}

}  // namespace

TEST_CASE("a token's loss is minus its log probability after the tokens before it", "[infer]") {
  Small small;
  const int64_t length = small.config.max_seq_len;
  const auto count = static_cast<size_t>(kBatch * length);
  const std::vector<int32_t> stream = random_tokens(kBatch * length + 1);
  const std::vector<int32_t> tokens(stream.begin(), stream.end() - 1);
  const std::vector<int32_t> targets(stream.begin() + 1, stream.end());
  data::Example rows(count);
  rows.tokens = tokens;
  rows.targets = targets;
  std::fill(rows.segment_ids.begin(), rows.segment_ids.end(), 0);
  for (size_t i = 0; i < count; ++i)
    rows.positions[i] = static_cast<int32_t>(i % static_cast<size_t>(length));
  const std::span<const float> view = small.model.token_losses({rows});
  const std::vector<float> losses(view.begin(), view.end());
  REQUIRE(losses.size() == count);
  for (size_t i = 0; i < count; ++i) {
    const size_t begin = i / static_cast<size_t>(length) * static_cast<size_t>(length);
    const auto logits = small.model.next_logits(std::span(tokens).subspan(begin, i - begin + 1));
    REQUIRE(logits.size() == static_cast<size_t>(kSmallVocab));
    double total = 0;
    for (const float x : logits) total += std::exp(static_cast<double>(x));
    const double loss = std::log(total) - logits[static_cast<size_t>(targets[i])];
    INFO(i);
    CHECK(std::abs(loss - losses[i]) < kLossTolerance);
  }
}

TEST_CASE("of a text longer than the context its end counts", "[infer]") {
  Small small;
  const std::vector<int32_t> tokens = random_tokens(20);
  const auto logits_of = [&](std::span<const int32_t> text) {
    const auto view = small.model.next_logits(text);
    return std::vector<float>(view.begin(), view.end());
  };
  const auto last = std::span(tokens).last(static_cast<size_t>(small.config.max_seq_len));
  CHECK(logits_of(tokens) == logits_of(last));
  CHECK(logits_of(tokens) != logits_of(last.subspan(1)));
}

TEST_CASE("generation stops at its length or before a stop id", "[infer]") {
  Small small;
  infer::GenerateOptions options;
  options.max_new_tokens = 25;
  const auto generated = [&] {
    std::vector<infer::Continuation> text = {{{1, 2}, key_from_seed(2)}};
    infer::generate(small.model, text, options);
    return text[0].ids;
  };
  const std::vector<int32_t> all = generated();
  REQUIRE(all.size() == 25);
  options.stop_ids = {all[7]};
  const auto first = std::find(all.begin(), all.end(), all[7]);
  CHECK(generated() == std::vector<int32_t>(all.begin(), first));
  options.stop_ids = {};
  options.max_new_tokens = 0;
  CHECK(generated().empty());
}

TEST_CASE("in bf16 the logits are those of f32 but for rounding", "[infer]") {
  Small exact("reference"), rounded("reference", 1, DType::bf16);
  const std::vector<int32_t> tokens = random_tokens(5);
  const auto expected = exact.model.next_logits(tokens), found = rounded.model.next_logits(tokens);
  double worst = 0;
  for (size_t i = 0; i < expected.size(); ++i)
    worst = std::max(worst, std::abs(static_cast<double>(expected[i]) - found[i]));
  CHECK(worst > 0);
  CHECK(worst <= kBf16LogitTolerance);
}

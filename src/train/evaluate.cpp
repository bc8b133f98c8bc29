#include "train/evaluate.h"

#include <chrono>
#include <cmath>
#include <string>
#include <vector>

#include "base/strings.h"
#include "data/loader.h"

namespace levanter::train {

namespace {

struct Sums {
  double nats = 0, tokens = 0, bytes = 0;
  double loss() const { return nats / tokens; }
  double bits_per_byte() const { return nats / (std::log(2.0) * bytes); }
};

Sums evaluate_component(const data::TextData& data, const std::string& name,
                        const TokenLosses& token_losses, const EvaluationOptions& options) {
  const std::vector<int32_t> byte_lengths = text::byte_lengths(*data.tokenizer());
  const data::ExampleSource source = data.validation(name, options.seq_len);
  data::LoaderOptions loading;
  loading.seq_len = options.seq_len;
  loading.batch_size = loading.rows = options.batch;
  if (options.max_rows >= 0)
    loading.end_step = (options.max_rows + options.batch - 1) / options.batch;
  data::Loader loader(source, loading);
  Sums sums;
  int64_t rows_left = options.max_rows;
  while (!loader.done()) {
    const data::Batch& batch = loader.next();
    const std::span<const float> losses =
        token_losses({batch.tokens.data(), batch.targets.data(), batch.segment_ids.data(),
                      batch.positions.data(), nullptr, batch.first_example});
    for (int64_t row = 0; row < batch.real_rows; ++row) {
      if (options.max_rows >= 0 && rows_left-- <= 0) break;
      float nats = 0;
      for (int64_t t = 0; t < options.seq_len; ++t) {
        const auto at = static_cast<size_t>(row * options.seq_len + t);
        if (batch.loss_weight[at] == 0) continue;
        nats += losses[at] * batch.loss_weight[at];
        sums.tokens += batch.loss_weight[at];
        sums.bytes += batch.loss_weight[at] * byte_lengths[static_cast<size_t>(batch.targets[at])];
      }
      sums.nats += nats;
    }
  }
  return sums;
}

}  // namespace

Metrics evaluate(const data::TextData& data, const TokenLosses& token_losses,
                 const EvaluationOptions& options) {
  const auto start = std::chrono::steady_clock::now();
  const std::vector<std::string> names = data.validation_names();
  if (names.empty()) return {};
  Sums all;
  double macro_loss = 0, macro_bits = 0;
  Metrics each;
  for (const std::string& name : names) {
    const Sums sums = evaluate_component(data, name, token_losses, options);
    all.nats += sums.nats, all.tokens += sums.tokens, all.bytes += sums.bytes;
    macro_loss += sums.loss() / static_cast<double>(names.size());
    macro_bits += sums.bits_per_byte() / static_cast<double>(names.size());
    each.emplace_back(cat("eval/", name, "/loss"), sums.loss());
    each.emplace_back(cat("eval/", name, "/bpb"), sums.bits_per_byte());
  }
  Metrics metrics = {{"eval/loss", all.loss()}, {"eval/bpb", all.bits_per_byte()}};
  if (names.size() > 1) {
    metrics.emplace_back("eval/macro_loss", macro_loss);
    metrics.emplace_back("eval/macro_bpb", macro_bits);
    metrics.insert(metrics.end(), each.begin(), each.end());
  }
  const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - start;
  metrics.emplace_back("eval/total_time", elapsed.count());
  return metrics;
}

}  // namespace levanter::train

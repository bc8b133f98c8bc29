// The log-probabilities of long documents, in windows that overlap.
#include "infer/scoring.h"

#include <algorithm>

namespace levanter::infer {

namespace {

/// Targets [first, end) of a document, scored in one row whose first target is [begin].
struct Window {
  Document* document;
  int64_t begin, first, end;
};

std::vector<Window> windows_of(std::span<Document> documents, int64_t length, int64_t stride) {
  std::vector<Window> windows;
  for (Document& document : documents) {
    const auto count = static_cast<int64_t>(document.ids.size());
    document.logprobs.resize(static_cast<size_t>(std::max<int64_t>(count - 1, 0)));
    for (int64_t first = 1; first < count;) {
      const int64_t end = std::min(count, first + (first == 1 ? length : stride));
      windows.push_back({&document, std::max<int64_t>(1, end - length), first, end});
      first = end;
    }
  }
  return windows;
}

/// Writes a window to a row.
void put(data::Example& batch, int64_t row, int64_t length, const Window& w) {
  const int32_t* ids = w.document->ids.data();
  for (int64_t t = 0; t < w.end - w.begin; ++t) {
    const auto i = static_cast<size_t>(row * length + t);
    batch.tokens[i] = ids[w.begin + t - 1];
    batch.targets[i] = ids[w.begin + t];
    batch.segment_ids[i] = 0;
    batch.positions[i] = static_cast<int32_t>(t);
  }
}

}  // namespace

void score(InferenceModel& model, std::span<Document> documents, int64_t rows, int64_t stride) {
  const int64_t length = model.max_seq_len();
  const std::vector<Window> windows = windows_of(documents, length, stride);
  for (size_t done = 0; done < windows.size(); done += static_cast<size_t>(rows)) {
    const auto some = std::span(windows).subspan(
        done, std::min(static_cast<size_t>(rows), windows.size() - done));
    data::Example batch(static_cast<size_t>(rows * length));  // the rest is padding
    std::fill(batch.positions.begin(), batch.positions.end(), 0);
    for (size_t row = 0; row < some.size(); ++row)
      put(batch, static_cast<int64_t>(row), length, some[row]);
    const std::span<const float> losses = model.token_losses({batch});
    for (size_t row = 0; row < some.size(); ++row) {
      const Window& w = some[row];
      const float* const of_row = losses.data() + static_cast<int64_t>(row) * length - w.begin;
      for (int64_t target = w.first; target < w.end; ++target)
        w.document->logprobs[static_cast<size_t>(target - 1)] = -of_row[target];
    }
  }
}

}  // namespace levanter::infer

// Texts continued token by token: rows that begin, grow and make room for the next text.
#include "infer/generation.h"

#include <algorithm>
#include <optional>

namespace levanter::infer {

namespace {

class Generation {
 public:
  Generation(InferenceModel& model, std::span<Continuation> texts, const GenerateOptions& options)
      : model_(model),
        texts_(texts),
        options_(options),
        row_text_(static_cast<size_t>(options.rows)),
        row_token_(row_text_.size()) {}

  void run() {
    size_t longest = 0;
    for (const Continuation& text : texts_) longest = std::max(longest, text.prompt.size());
    model_.begin_decoding(options_.rows, std::min(model_.max_seq_len(), options_.max_new_tokens) +
                                             static_cast<int64_t>(longest));
    while (begin_texts()) grow();
  }

 private:
  /// Gives free rows the next texts; false when no row has any.
  bool begin_texts() {
    bool any = false;
    for (size_t row = 0; row < row_text_.size(); ++row) {
      while (!row_text_[row] && next_ < texts_.size()) {
        row_text_[row] = next_++;
        const Continuation& text = texts_[*row_text_[row]];
        const std::vector<int32_t>& prompt = text.prompt;
        const bool fits = static_cast<int64_t>(prompt.size()) <= model_.max_seq_len();
        take(row, fits ? model_.decode_text(static_cast<int64_t>(row), prompt, text.adapter)
                       : model_.next_logits(prompt, text.adapter));
      }
      any |= row_text_[row].has_value();
    }
    return any;
  }

  std::vector<int32_t> whole(const Continuation& text) const {
    std::vector<int32_t> all = text.prompt;
    all.insert(all.end(), text.ids.begin(), text.ids.end());
    return all;
  }

  /// One more token for each row with a text.
  void grow() {
    std::vector<size_t> cached, too_long;
    for (size_t row = 0; row < row_text_.size(); ++row) {
      row_token_[row] = -1;
      if (!row_text_[row]) continue;
      const Continuation& text = texts_[*row_text_[row]];
      const size_t length = text.prompt.size() + text.ids.size();
      const bool fits = static_cast<int64_t>(length) <= model_.max_seq_len();
      if (fits) row_token_[row] = text.ids.back();
      (fits ? cached : too_long).push_back(row);
    }
    if (!cached.empty()) {
      const std::span<const float> logits = model_.decode_next(row_token_);
      const size_t vocab = logits.size() / row_text_.size();
      for (const size_t row : cached) take(row, logits.subspan(row * vocab, vocab));
    }
    for (const size_t row : too_long) {
      const Continuation& text = texts_[*row_text_[row]];
      take(row, model_.next_logits(whole(text), text.adapter));
    }
  }

  /// Draws the row's next token; a text that ends leaves the row.
  void take(size_t row, std::span<const float> logits) {
    const size_t index = *row_text_[row];
    Continuation& text = texts_[index];
    const std::vector<int32_t> before =
        options_.sampling.repetition_penalty == 1 ? std::vector<int32_t>() : whole(text);
    const auto known = static_cast<size_t>(options_.vocab_size);
    const auto drawn = logits.first(known > 0 ? std::min(known, logits.size()) : logits.size());
    const int32_t token = sample(drawn, options_.sampling, text.key, text.ids.size(), before);
    row_text_[row].reset();
    if (std::count(options_.stop_ids.begin(), options_.stop_ids.end(), token) > 0) return;
    text.ids.push_back(token);
    if (options_.logprobs) text.logprobs.push_back(log_probability(logits, token));
    if (options_.on_token && !options_.on_token(index, text)) return;
    if (static_cast<int64_t>(text.ids.size()) < options_.max_new_tokens) row_text_[row] = index;
  }

  InferenceModel& model_;
  std::span<Continuation> texts_;
  const GenerateOptions& options_;
  size_t next_ = 0;
  std::vector<std::optional<size_t>> row_text_;  ///< the text that a row holds
  std::vector<int32_t> row_token_;
};

}  // namespace

void generate(InferenceModel& model, std::span<Continuation> texts,
              const GenerateOptions& options) {
  if (options.max_new_tokens > 0) Generation(model, texts, options).run();
}

}  // namespace levanter::infer

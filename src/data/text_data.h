// The texts of a run as tokens in memory, and the datasets for training and validation on them.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/random.h"
#include "data/example.h"
#include "data/token_stream.h"
#include "text/tokenizer.h"

namespace levanter::data {

/// One source of text. The files of a list are documents of one stream, in the order given; windows
/// run on across documents, the segments tell them apart.
struct TextComponent {
  std::string name;
  std::vector<std::string> train;
  std::vector<std::string> validation;
  /// The share of the training stream, at its end, that is kept for validation instead: of n tokens
  /// the first training_tokens(n, fraction) train. Not together with `validation`.
  double validation_fraction = 0;
};

/// floor(n * (1 - fraction)), computed exactly with the fraction rounded to 9 decimals, so that 0.1
/// of 1,115,394 leaves 1,003,854 and 0.9 of 10 leaves 1.
int64_t training_tokens(int64_t n, double fraction);

struct TrainingOptions {
  int64_t seq_len = 0;
  Key key = {};
  /// False gives the windows of each epoch in the order of the text.
  bool shuffle = true;
};

/// Reads all texts when made, and tokenises each once.
class TextData final {
 public:
  /// kind, tokenizer  make the tokenizer, of all texts, validation included
  /// saved  is used in its place when given: a resumed run keeps its vocabulary
  /// error  kData for a text that is missing, empty, damaged, or that the tokenizer can't take;
  ///        kConfig for components that contradict themselves
  TextData(std::span<const TextComponent> components, const text::TokenizerEntry& kind,
           const TokenizerConfig& tokenizer,
           std::shared_ptr<const text::Tokenizer> saved = nullptr);

  const std::shared_ptr<const text::Tokenizer>& tokenizer() const { return tokenizer_; }
  int64_t train_tokens() const;
  int64_t validation_tokens() const;

  /// An endless dataset over all components in proportion to their sizes. Example g belongs to
  /// epoch e = g / epoch_length; each epoch sees every window of every component once, cut at an
  /// offset and in an order drawn from fold_in(key, e). error  kData when there is no training
  /// text, or a component's is shorter than one window
  ExampleSource training(const TrainingOptions& options) const;

  /// The components that have validation text, in the order given.
  std::vector<std::string> validation_names() const;
  /// All windows of a component's validation text in order; every token but the first is a target
  /// once. error  kData when the text is shorter than one window, naming both sizes
  ExampleSource validation(std::string_view name, int64_t seq_len) const;
  /// Throws what training or validation would.
  void check_lengths(int64_t seq_len) const;

 private:
  struct Component {
    TextComponent spec;
    std::shared_ptr<const TokenStream> train, validation;
  };

  std::shared_ptr<const text::Tokenizer> tokenizer_;
  std::vector<Component> components_;
};

}  // namespace levanter::data

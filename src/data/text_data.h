// The texts of a run as tokens, and the datasets for training and validation on them.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/random.h"
#include "data/rows/example.h"
#include "data/cache/cache_build.h"
#include "data/files/pipes.h"
#include "data/rows/row_counts.h"
#include "data/rows/training_data.h"
#include "text/tokenizer.h"

namespace levanter::data {

/// One source of text: files or patterns of files, whose records are documents of one stream, in
/// the order given.
struct TextComponent {
  std::string name;
  std::vector<std::string> train = {};
  std::vector<std::string> validation = {};
  /// The share of the training stream, at its end, that is kept for validation instead: of n tokens
  /// the first training_tokens(n, fraction) train. Not together with `validation`.
  double validation_fraction = 0;
  /// The same as a number of tokens, 0 for none.
  int64_t validation_tokens = 0;
  std::shared_ptr<const FormatConfig> format = {};  ///< null: text
  RowSpec rows = {};
  std::string noun = "document";       ///< what people call one
  std::vector<std::string> tags = {};  ///< further names under which its losses are gathered
};

/// floor(n * (1 - fraction)), computed exactly with the fraction rounded to 9 decimals, so that 0.1
/// of 1,115,394 leaves 1,003,854 and 0.9 of 10 leaves 1.
int64_t training_tokens(int64_t n, double fraction);

struct TextDataOptions {
  const text::TokenizerEntry* kind = nullptr;         ///< with `tokenizer` makes the tokenizer
  const TokenizerConfig* tokenizer = nullptr;         ///< null: the defaults
  std::shared_ptr<const text::Tokenizer> saved = {};  ///< used in its place: a run keeps its own
  std::optional<bool> enforce_bos = {};
  bool enforce_eos = true;
  std::string cache_dir = {};        ///< where token caches lie; empty: tokens are kept in memory
  int64_t memory_bytes = INT64_MAX;  ///< of the machine; tokens in memory take at most a third
  OnBadRecord on_bad_record = OnBadRecord::kFail;
  bool build_caches = true;  ///< false: one that is missing is an error
  /// Whether only validation is wanted: training texts are then read only where it is their end.
  bool held_out_only = false;
  int threads = 1;
  CacheReport report = {};
  dist::Crew* crew = nullptr;  ///< the ranks that help to make caches; null for none
  /// Whether another rank of the run has just checked the caches, all bytes of them and of the
  /// texts that they were made of: then they are opened as their ledgers say.
  bool checked_caches = false;
};

enum class Split { kTrain, kValidation };

/// What a split of a component holds.
struct SplitDigest {
  std::string name;  ///< "web/train"
  Digest digest;
};

/// The tokenizer of the components: of its kind, and of their texts where it takes its vocabulary
/// from them.
///   input  where a copy of the standard input goes that such texts are read from; without it,
///   error
///          kConfig for them
std::shared_ptr<const text::Tokenizer> make_tokenizer(
    std::span<const TextComponent> components, const TextDataOptions& options,
    std::unique_ptr<StandardInputCopy>* input = nullptr);

/// Reads all texts when made, each once, or opens their token caches:
/// <cache_dir>/<component>/train and <cache_dir>/<component>/validation.
class TextData final {
 public:
  /// error  kData for a text that is missing, empty, damaged, or that the tokenizer can't take, and
  ///        for a cache that is not of these texts; kConfig for components that contradict
  ///        themselves
  TextData(std::span<const TextComponent> components, const TextDataOptions& options);

  /// With the template of the first component that names one.
  const std::shared_ptr<const text::Tokenizer>& tokenizer() const { return tokenizer_; }
  /// What people should know of how the texts were found: lines without an end.
  const std::vector<std::string>& notes() const { return notes_; }
  /// The components in the order given.
  std::vector<const ComponentStreams*> components() const;
  /// The splits that have texts, in the order given; what is held out of a training text is part of
  /// it here.
  const std::vector<SplitDigest>& digests() const { return digests_; }
  int64_t train_tokens() const { return total(&ComponentStreams::train); }
  int64_t validation_tokens() const { return total(&ComponentStreams::validation); }

  /// What the tokens of a component's pairs have under the reference model: examples of that split
  /// that are asked for later have it. The ranks of a process may share these data and say it each.
  void keep_references(std::string_view name, Split split,
                       std::shared_ptr<const TokenValues> references) const;

  /// See training_rows. error  kData too when a component's text is shorter than one window
  ExampleSource training(const TrainingOptions& options) const;

  /// The components that have validation text, in the order given.
  std::vector<std::string> validation_names() const;
  /// The tags of a component, its name aside.
  const std::vector<std::string>& tags(std::string_view name) const;
  /// See validation_rows. error  kData when the text is shorter than one window, naming both sizes
  ExampleSource validation(std::string_view name, int64_t seq_len) const;
  /// Throws what training or validation would; of documents that are too long for a packed row, the
  /// first with its file and line.
  void check_lengths(int64_t seq_len) const;
  /// What became of the components' documents, in the order given.
  std::vector<ComponentCounts> counts(const TrainingOptions& options) const;

 private:
  struct Component {
    TextComponent spec;
    ComponentStreams streams;
  };

  DocumentRules rules() const;
  void keep_chat_template();
  std::shared_ptr<const TokenStream> open(const TextComponent& spec, const std::string& split,
                                          ThreadPool& pool);
  std::shared_ptr<const TokenStream> tokenise(const TextComponent& spec, const std::string& split,
                                              std::span<const std::string> files, ThreadPool& pool);
  void require_targets(const Component& component, const std::string& split, int64_t seq_len) const;
  void refuse_too_long(const Component& component, const std::string& split, int64_t seq_len) const;
  [[noreturn]] void throw_too_large(const TextComponent& spec) const;
  const Component& component(std::string_view name) const;
  ComponentStreams with_references(const Component& component) const;
  int64_t total(std::shared_ptr<const TokenStream> ComponentStreams::*split) const;

  TextDataOptions options_;
  std::shared_ptr<const text::Tokenizer> tokenizer_;
  std::vector<Component> components_;
  std::vector<SplitDigest> digests_;
  std::vector<std::string> notes_;
  std::map<std::string, RecordCounts> read_;  ///< by component
  int64_t kept_bytes_ = 0;                    ///< of tokens in memory
  mutable std::mutex references_mutex_;
  /// By component and split.
  mutable std::map<std::pair<std::string, Split>, std::shared_ptr<const TokenValues>> references_;
  /// While the texts are read, where the tokenizer is made of the standard input too.
  std::unique_ptr<StandardInputCopy> input_;
};

}  // namespace levanter::data

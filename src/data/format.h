// What the records of a file mean: how each becomes a document of tokens and weights.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/threads.h"
#include "config/fields.h"
#include "data/files/source.h"
#include "data/cache/token_cache.h"
#include "text/tokenizer.h"

namespace levanter::data {

/// A record and whether it is JSON or plain text.
struct FormatRecord {
  Record record;
  bool is_json = false;

  /// "train.jsonl:17", or "poems.txt" for a text.
  std::string origin() const { return is_json ? record.origin() : std::string(record.file); }
};

/// What formats share: the tokenizer, and whether documents begin with its BOS and end with its
/// EOS.
struct DocumentRules {
  const text::Tokenizer* tokenizer = nullptr;
  std::optional<bool> enforce_bos = {};  ///< absent: as the tokenizer itself does
  bool enforce_eos = true;
  ThreadPool* pool = nullptr;  ///< that may encode one text; null inside of a pool's call

  /// The ids of a whole text, with what the tokenizer puts around it, then BOS and EOS as enforced;
  /// neither twice, and neither where the tokenizer has none.
  std::vector<int32_t> whole(text::NamedText text) const;
  /// A prompt and what follows it, encoded as the one text that they are. As many tokens as the
  /// prompt alone has are the prompt's: they weigh `prompt_weight` as targets, others 1.
  Document answered(std::string_view prompt, std::string_view answer, std::string_view origin,
                    float prompt_weight) const;
};

/// Turns records into documents. It serves one thread at a time.
class Format {
 public:
  virtual ~Format() = default;
  /// Appends the documents of a record, most often one.
  /// error  kData at FILE:LINE for a record that is no such document
  virtual void add(const FormatRecord& record, std::vector<Document>& documents) = 0;
  /// Pieces of text that were not UTF-8 and were replaced so far.
  virtual int64_t replaced() const { return 0; }
};

class JsonFields;
enum class BrokenText;

/// The key by which formats say what becomes of text that is not UTF-8.
struct BrokenTextKey {
  std::string invalid_utf8 = "replace";  ///< replace, refuse

  void fields(config::Fields& f);
  BrokenText policy() const;
};

/// A format of records of JSON: `add` appends the documents of each, from its fields.
std::unique_ptr<Format> json_format(
    BrokenText broken, std::function<void(const JsonFields& fields, const std::string& origin,
                                          std::vector<Document>& documents)>
                           add);

}  // namespace levanter::data

namespace levanter {

/// Base of the configs that a component's `format` chooses.
struct FormatConfig : config::Choosable {
  /// Whether documents have weights.
  virtual bool weighted() const { return false; }
  /// Whether documents come in twos: the chosen answer of a pair and the rejected one.
  virtual bool pairs() const { return false; }
  /// Everything but the tokenizer that decides the tokens, in one line.
  virtual std::string facts(const data::DocumentRules& rules) const = 0;
  virtual std::unique_ptr<data::Format> make(const data::DocumentRules& rules) const = 0;
  /// The text of a record alone, for a tokenizer whose vocabulary comes from the texts; nothing
  /// where the format has more than text.
  virtual std::optional<std::string> text_of(const data::FormatRecord&) const {
    return std::nullopt;
  }

  /// The chat template that the config names: its file's text.
  virtual std::optional<std::string> chat_template() const { return std::nullopt; }

  static std::span<const config::ChoiceEntry> choices();
  static constexpr const char* kDefaultChoice = "text";
};

}  // namespace levanter

namespace levanter::data {

/// The format of a component that names none: text, with its defaults.
std::shared_ptr<const FormatConfig> default_format();

/// A format by name.
struct FormatEntry {
  const char* name;
  const char* summary;
  std::unique_ptr<config::Choosable> (*make_config)();  ///< of a FormatConfig
};

namespace formats {
/// All formats, from the list of parts.
std::span<const FormatEntry* const> entries();
}  // namespace formats

}  // namespace levanter::data

// What turns text into token ids and back, and the table of the kinds that there are.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "text/tokenizer_config.h"

namespace levanter {
class ThreadPool;
}

namespace levanter::text {

/// A text and what to call it in an error: a path, "the prompt".
struct NamedText {
  std::string_view content;
  std::string_view origin;
};

/// A range of bytes.
struct ByteSpan {
  size_t begin = 0, end = 0;
  bool operator==(const ByteSpan&) const = default;
};

/// Ids, and for each whether it stands for a part of what was asked for.
struct MarkedIds {
  std::vector<int32_t> ids;
  std::vector<bool> marked;
};

/// Whether decoding writes special tokens, such as "<|endoftext|>", or leaves them out.
enum class Special { kWrite, kSkip };

/// Text to ids in [0, vocab_size) and back. Immutable, so any number of threads may share one.
class Tokenizer {
 public:
  virtual ~Tokenizer() = default;

  /// The word that chooses it in a config, such as "char".
  virtual std::string_view name() const = 0;
  virtual int64_t vocab_size() const = 0;
  /// The ids of a text, nothing added to it; special tokens that stand in the text are recognised.
  /// error  kData when the text can't be expressed, naming the byte and line of `text.origin`
  virtual std::vector<int32_t> encode(NamedText text) const = 0;
  /// The same ids, by all threads of the pool where the kind knows places to cut the text at.
  virtual std::vector<int32_t> encode_long(NamedText text, ThreadPool&) const {
    return encode(text);
  }
  /// The same ids, marked where they stand for a byte of one of the spans.
  ///   spans  of the text, each empty or within it, in order, none reaching into the next
  virtual MarkedIds encode_marked(NamedText text, std::span<const ByteSpan> spans) const;
  /// The text that the ids stand for. Those whose tokens are bytes give bytes, which need not be
  /// UTF-8; "hf" gives U+FFFD for what is not, as Hugging Face does.
  /// error  kData for an id outside the vocabulary
  virtual std::string decode(std::span<const int32_t> ids,
                             Special special = Special::kWrite) const = 0;
  /// Bytes of text that this id stands for, 0 for a special token; what bits per byte is counted
  /// with.
  virtual int64_t byte_length(int32_t id) const = 0;
  /// The same of an id that begins a text: without the blank that the tokenizer itself puts there.
  virtual int64_t first_byte_length(int32_t id) const { return byte_length(id); }
  /// Whether the id stands for a byte that decodes together with its neighbours, not by itself.
  virtual bool is_loose_byte(int32_t) const { return false; }
  /// The ids that begin and end a document, where there are any.
  virtual std::optional<int32_t> bos_id() const { return std::nullopt; }
  virtual std::optional<int32_t> eos_id() const { return std::nullopt; }
  /// The ids after which a model's own text ends: EOS, or what its Hugging Face folder lists, such
  /// as the end of a turn beside it.
  virtual std::vector<int32_t> end_ids() const {
    return eos_id() ? std::vector<int32_t>{*eos_id()} : std::vector<int32_t>{};
  }
  /// The ids of a whole text with what the tokenizer itself puts around it, such as BOS.
  virtual std::vector<int32_t> add_special(std::vector<int32_t> ids) const { return ids; }
  /// The special tokens as chat templates see them: "bos_token" and "<s>".
  virtual std::map<std::string, std::string> special_tokens() const;
  /// The template that writes chats as this tokenizer's model knows them, where there is one.
  virtual std::optional<std::string> chat_template() const { return std::nullopt; }
  /// Its further templates by name, such as "tool_use" for chats with tools.
  virtual std::map<std::string, std::string> named_chat_templates() const { return {}; }
  /// The same tokenizer with another template, the only one; null where its kind has none.
  virtual std::shared_ptr<const Tokenizer> with_chat_template(std::string) const { return nullptr; }
  /// JSON text from which load_tokenizer makes an equal tokenizer; equal tokenizers give equal
  /// texts.
  virtual std::string serialise() const = 0;
  /// All that decides ids, as a text: what serialise gives, without the template of chats
  /// and the ids that end a text.
  virtual std::string identity() const { return serialise(); }
};

/// A kind of tokenizer.
struct TokenizerEntry {
  const char* name;
  const char* summary;
  std::unique_ptr<config::Choosable> (*make_config)();  ///< of a TokenizerConfig
  /// Whether the vocabulary comes from the texts; `make` of other kinds takes none.
  bool reads_texts;
  /// Makes one for the given texts, those of validation included.
  /// error  kData when a text can't be expressed by this kind, or a file of its own is missing or
  ///        wrong
  std::unique_ptr<const Tokenizer> (*make)(const TokenizerConfig& config,
                                           std::span<const NamedText> texts);
  /// Makes one from what serialise gave; nullptr when the text is not of that form.
  std::unique_ptr<const Tokenizer> (*load)(std::string_view serialised);
};

/// All kinds, from the list of parts.
std::span<const TokenizerEntry* const> entries();

/// The kind of that name.
/// error  kConfig naming all kinds
const TokenizerEntry& find_tokenizer(std::string_view name);

/// The tokenizer that `serialised`, the content of the file `origin`, describes.
/// error  kCheckpoint when no kind understands it
std::unique_ptr<const Tokenizer> load_tokenizer(std::string_view serialised,
                                                std::string_view origin);

/// The tokenizer that a user names outside of a config: a kind that needs nothing else ("bytes"), a
/// file that serialise wrote, or what the kind "hf" reads.
/// error  kConfig when a kind needs more; kData when the path holds no tokenizer
std::unique_ptr<const Tokenizer> open_tokenizer(const std::string& name_or_path);

/// The value of the string field `key` of the JSON object `json`; nothing when there is none, or
/// when `json` is not an object.
std::optional<std::string> json_string(std::string_view json, std::string_view key);

/// Throws the error of an id that is not in the vocabulary.
[[noreturn]] void throw_unknown_id(int32_t id, int64_t vocab_size);

/// Throws the error of a text whose byte `offset` is not UTF-8.
[[noreturn]] void throw_not_utf8(NamedText text, size_t offset);

}  // namespace levanter::text

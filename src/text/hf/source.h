// Where a tokenizer comes from: a folder, one of its files, or what a checkpoint kept.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "text/tokenizer.h"

namespace levanter::text::hf {

/// The tokenizer of kind "hf" that is at a path, as read_source finds it.
std::unique_ptr<const Tokenizer> open(const std::string& path);

/// Everything that makes a tokenizer.
struct Source {
  std::string json;    ///< the text of a tokenizer.json
  std::string origin;  ///< names it in errors
  /// JSON list of added tokens that the folder's other files list, in the form of tokenizer.json's;
  /// those that have no id yet get one when the tokenizer is made.
  std::string more_added = "[]";
  /// The tokens that begin and end a document, by name or else by id.
  std::optional<std::string> bos, eos;
  std::optional<int32_t> bos_id, eos_id;
  std::vector<int32_t> end_ids = {};  ///< that end a text, where the model's files name some
  std::string chat_template = {};     ///< "" where there is none
  std::map<std::string, std::string> named_templates = {};  ///< the others, by name
  std::map<std::string, std::string> special_tokens = {};   ///< "pad_token" and its text
  /// What only other programs heed, for exports to keep: JSON values by the names that
  /// tokenizer_config.json and generation_config.json have for them.
  std::map<std::string, std::string> sides = {}, sampling = {};
  /// JSON list of the special tokens that the folder or the config names without an id. It is not
  /// saved: what of it is new becomes part of more_added.
  std::string named_special = "[]";
};

/// Reads a folder (tokenizer.json, else vocab.json and merges.txt, else a SentencePiece *.model;
/// each may have .gz behind its name; with tokenizer_config.json, special_tokens_map.json,
/// added_tokens.json, generation_config.json, config.json, chat_template.jinja and
/// additional_chat_templates where they are), or one of these files with the others in its folder.
/// error  kData when there is no such file, or it is broken
Source read_source(const std::string& path);

/// Names more special tokens, for which no file gives an id.
void name_special_tokens(const std::vector<std::string>& tokens, Source& source);

/// The content of a file, gzip taken off.
std::string read_content(const std::string& path);

/// The text of a tokenizer.json for a SentencePiece model, a protocol buffer.
/// error  kData naming `origin` when it is not one, or of a type that has no such form
std::string sentencepiece_json(std::string_view model, const std::string& origin);

/// A source as one JSON object, and back; nothing when the text is not one of ours.
std::string write_source(const Source& source);
std::optional<Source> parse_source(std::string_view text);

}  // namespace levanter::text::hf

// A tokenizer.json read into plain structs.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "text/hf/json.h"
#include "text/hf/merges.h"
#include "text/hf/vocabulary.h"

namespace levanter::text::hf {

/// A token that is recognised in the text itself, before anything else.
struct AddedToken {
  int32_t id = 0;
  std::string content;
  bool single_word = false;  ///< only where no letter or digit is next to it
  bool lstrip = false;       ///< takes the white space before it
  bool rstrip = false;       ///< and behind it
  bool normalized = false;   ///< looked for in normalized text
  bool special = false;      ///< left out by Special::kSkip
};

struct TokenizerFile {
  std::vector<AddedToken> added;
  Value normalizer, pre_tokenizer, post_processor, decoder;  ///< null where there is none
  Value model;                                               ///< without its vocabulary and merges
  Vocabulary vocabulary;
  std::vector<Merge> merges;
  std::vector<double> scores;  ///< of Unigram's tokens, by id
};

/// Reads the text of a tokenizer.json.
/// error  kData naming `origin` and what is wrong
TokenizerFile read_tokenizer_file(std::string_view json, const std::string& origin);

/// Reads a list of added tokens in the form of "added_tokens"; ids as the vocabulary has them.
std::vector<AddedToken> read_added_tokens(const Value& list, const Vocabulary& vocabulary,
                                          int64_t next_id);

/// The offset of the first byte that is not UTF-8, or the text's size.
size_t first_invalid_utf8(std::string_view text);

}  // namespace levanter::text::hf

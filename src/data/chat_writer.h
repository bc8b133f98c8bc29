// Chats as documents: the template's text as tokens, of which the assistant's own are learned.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "config/fields.h"
#include "data/format.h"
#include "text/chat_template.h"

namespace levanter::data {

/// What formats of chats have in common.
struct ChatKeys {
  std::optional<config::Path> chat_template;
  std::optional<std::string> date;
  bool mask_user_turns = true;

  void fields(config::Fields& f);
  /// The text of the file that chat_template names.
  std::optional<std::string> named_template() const;
  /// The template and the keys, as the facts of a format.
  std::string facts(const text::Tokenizer& tokenizer) const;
};

/// A chat as a record has it.
struct ChatRecord {
  std::string origin;                  ///< FILE:LINE
  std::string messages;                ///< a JSON list
  std::string tools;                   ///< a JSON list, "" for none
  std::string extra;                   ///< a JSON object of further variables, "" for none
  bool add_generation_prompt = false;  ///< end where the assistant begins to speak
};

/// Writes chats; any number of threads may share one.
class ChatWriter final {
 public:
  /// error  kData where there is no template, it is broken, or it does not tell the assistant's
  ///        words although they alone are to be learned
  ChatWriter(const ChatKeys& keys, const text::Tokenizer& tokenizer);

  /// The rendered chat's ids, nothing added to them. With mask_user_turns the weight of a token is
  /// 1 where it holds a part of what a {% generation %} block printed, else 0; without it there are
  /// no weights.
  /// error  kData at the record: what the template refuses; no words of an assistant
  Document write(const ChatRecord& chat) const;

 private:
  const text::Tokenizer& tokenizer_;
  text::ChatTemplate template_;
  bool masks_;
  std::optional<int64_t> date_;  ///< seconds since 1970
  std::optional<std::string> bos_, eos_;
};

}  // namespace levanter::data

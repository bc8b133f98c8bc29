// Chats as documents: the template's text as tokens, of which the assistant's own are learned.
#pragma once

#include <map>
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
  bool always_masks = false;  ///< no key: whether hints leave out that it could be false

  void fields(config::Fields& f);
  /// The text of the file that chat_template names.
  std::optional<std::string> named_template() const;
  /// The template and the keys, as the facts of a format.
  std::string facts(const text::Tokenizer& tokenizer) const;
};

/// A chat as a record has it.
struct ChatRecord {
  std::string origin;                  ///< FILE:LINE
  std::string messages;                ///< a JSON list, compact
  std::string tools = {};              ///< a JSON list, "" for none
  std::string extra = {};              ///< a JSON object of further variables, "" for none
  bool add_generation_prompt = false;  ///< end where the assistant begins to speak
};

/// Writes chats; any number of threads may share one.
class ChatWriter final {
 public:
  /// error  kData where there is no template, it is broken, or it does not tell the assistant's
  ///        words although they alone are to be learned
  ChatWriter(const ChatKeys& keys, const text::Tokenizer& tokenizer);

  /// A chat with tools is written by the tokenizer's template "tool_use", where it has one and none
  /// is named. Content that is a list of typed parts is handed to templates that read parts; to
  /// others as their texts, a line each.
  /// The rendered chat's ids, nothing added to them. With mask_user_turns the weight of a token is
  /// 1 where it holds a part of what a {% generation %} block printed of a message whose "weight",
  /// where it has one, is not 0; else 0. Without it there are no weights.
  /// error  kData at the record: what the template refuses; no words of an assistant; weights of
  ///        messages that can't be heeded; further variables of a name that the call itself gives
  Document write(const ChatRecord& chat) const;

 private:
  /// A template, and whether it reads content that is a list of parts.
  struct Voice {
    text::ChatTemplate source;
    bool reads_parts;
  };
  Voice voice_of(std::string_view text, std::string origin) const;
  void require_marks(const Voice& voice) const;
  void require_weights(const ChatRecord& chat) const;
  const Voice& voice_for(const ChatRecord& chat) const;
  text::Rendered render(const text::ChatTemplate& source, const ChatRecord& chat) const;

  const text::Tokenizer& tokenizer_;
  bool masks_;
  std::string or_all_;           ///< of hints: how all turns are learned, "" where that can't be
  std::optional<int64_t> date_;  ///< seconds since 1970
  std::map<std::string, std::string> special_tokens_;
  std::optional<Voice> voice_, tool_voice_;
};

}  // namespace levanter::data

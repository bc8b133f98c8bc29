// Chat templates: the Jinja text that turns a list of messages into what a model was trained on.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "text/tokenizer.h"

namespace levanter::text {

struct ChatInput;

/// A rendered template.
struct Rendered {
  std::string text;
  /// What its {% generation %} blocks printed, in order: the assistant's own words, but for those
  /// of a message whose "weight" is 0.
  std::vector<ByteSpan> generation;
};

/// A template, parsed once. Immutable, so any number of threads may share one.
class ChatTemplate final {
 public:
  /// error  kData naming ORIGIN:LINE and the construct: one that is unknown, or not closed
  ChatTemplate(std::string_view source, std::string origin);

  /// The text for these variables, a JSON object. Rendering is Jinja's with trim_blocks and
  /// lstrip_blocks, as Hugging Face's apply_chat_template sets them.
  ///   now_seconds  what strftime_now sees, seconds since 1970 in UTC; nothing where there is no
  ///                date, so that strftime_now is an error
  /// error  kData naming ORIGIN:LINE: what the template itself refuses by raise_exception, an
  ///        undefined value used, types that don't go together, too much work or text
  Rendered render(std::string_view variables_json,
                  std::optional<int64_t> now_seconds = std::nullopt) const;
  /// Whether it has a {% generation %} block, so that it can tell the assistant's words.
  bool has_generation() const;
  const std::string& origin() const;

 private:
  friend Rendered render_chat(const ChatTemplate& chat_template, const ChatInput& input);
  struct Impl;
  std::shared_ptr<const Impl> impl_;
};

/// What a chat is rendered with; each JSON text as it stands in the data.
struct ChatInput {
  std::string_view messages_json;
  std::string_view tools_json = {};  ///< "" for none
  bool add_generation_prompt = false;
  std::map<std::string, std::string> special_tokens = {};  ///< "bos_token" and its text
  std::string_view extra_json = {};  ///< an object whose keys are more variables; "" for none
  std::optional<int64_t> now_seconds = {};
};

/// The chat as the template writes it: `messages`, `tools`, `documents`, `add_generation_prompt`,
/// the special tokens and the extra keys are its variables. As in Hugging Face's
/// apply_chat_template a message loses its keys whose value is null, and what it reasons is there
/// as `thinking` and `reasoning_content`, under whichever of `reasoning_content`, `thinking`,
/// `reasoning` it came.
Rendered render_chat(const ChatTemplate& chat_template, const ChatInput& input);

/// A JSON list of messages, content that is a list of parts replaced by the texts of the parts, a
/// line each; nothing where no message has parts.
/// error  kData at `origin` for a part that has no text
std::optional<std::string> join_content_parts(std::string_view messages_json,
                                              const std::string& origin);

/// The templates that the JSON text of a tokenizer_config.json holds, by name: its `chat_template`
/// as "default" where that is a text, else its list. error kData when it is of another form
std::map<std::string, std::string> find_chat_templates(std::string_view tokenizer_config,
                                                       std::string_view origin);

}  // namespace levanter::text

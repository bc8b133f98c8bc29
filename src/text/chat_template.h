// Chat templates: the Jinja text that turns a list of messages into what a model was trained on.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "text/tokenizer.h"

namespace levanter::text {

/// A rendered template.
struct Rendered {
  std::string text;
  /// What its {% generation %} blocks printed, in order: the assistant's own words.
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
  struct Impl;
  std::shared_ptr<const Impl> impl_;
};

/// What a chat is rendered with; each JSON text as it stands in the data.
struct ChatInput {
  std::string_view messages_json;
  std::string_view tools_json = {};  ///< "" for none
  bool add_generation_prompt = false;
  std::optional<std::string> bos_token = {};  ///< undefined in the template where absent
  std::optional<std::string> eos_token = {};
  std::string_view extra_json = {};  ///< an object whose keys are more variables; "" for none
  std::optional<int64_t> now_seconds = {};
};

/// The chat as the template writes it: `messages`, `tools`, `documents`, `add_generation_prompt`,
/// `bos_token`, `eos_token` and the extra keys are its variables.
Rendered render_chat(const ChatTemplate& chat_template, const ChatInput& input);

/// The template that the JSON text of a tokenizer_config.json holds: its `chat_template` as a text,
/// or of its list the one of that name ("default" where `name` is empty). Nothing when it has none.
/// error  kData when it is of another form, or there is none of that name
std::optional<std::string> find_chat_template(std::string_view tokenizer_config,
                                              std::string_view origin, std::string_view name = "");

}  // namespace levanter::text

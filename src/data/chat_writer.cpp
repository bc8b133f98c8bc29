// Chats as documents: the template's text as tokens, of which the assistant's own are learned.
#include "data/chat_writer.h"

#include <time.h>

#include <algorithm>

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/files.h"
#include "base/hash.h"
#include "base/strings.h"
#include "json/mend.h"

namespace levanter::data {
namespace {

constexpr auto kToolUse = "tool_use";

/// A hash of the templates that chats are written by.
std::string hash_of_templates(const ChatKeys& keys, const text::Tokenizer& tokenizer) {
  Hasher hasher(Hasher::Width::k128);
  const auto add = [&](const std::string& text) { hasher.update(std::as_bytes(std::span(text))); };
  if (const auto named = keys.named_template()) {
    add(*named);
  } else {
    add(tokenizer.chat_template().value_or(""));
    const auto others = tokenizer.named_chat_templates();
    if (const auto tool_use = others.find(kToolUse); tool_use != others.end())
      add(tool_use->second);
  }
  return hasher.hex();
}

/// The seconds of "2024-07-26"; nothing for another text.
std::optional<int64_t> seconds_of(const std::string& date) {
  std::tm parts{};
  const char* end = ::strptime(date.c_str(), "%Y-%m-%d", &parts);
  if (end == nullptr || *end != '\0') return std::nullopt;
  return static_cast<int64_t>(::timegm(&parts));
}

/// Throws where the chat's further variables have the name of an argument of Transformers'
/// apply_chat_template or of its call of the template, which refuses a second one.
void require_own_names(const ChatRecord& chat) {
  if (chat.extra.empty()) return;
  constexpr std::string_view kTaken[] = {"messages",
                                         "tools",
                                         "add_generation_prompt",
                                         "conversation",
                                         "tokenize",
                                         "conversations",
                                         "continue_final_message",
                                         "chat_template",
                                         "max_length",
                                         "tokenizer_kwargs",
                                         "return_assistant_tokens_mask",
                                         "padding",
                                         "return_dict",
                                         "return_tensors",
                                         "sanitize_control_tokens",
                                         "truncation"};
  const auto given = nlohmann::json::parse(chat.extra, nullptr, false);
  for (const auto& item : given.items())
    if (std::find(std::begin(kTaken), std::end(kTaken), item.key()) != std::end(kTaken))
      throw Error(ErrorKind::kData, cat("the variables for the template have one named ",
                                        quote(item.key()), ", which the call itself gives"))
          .at(chat.origin)
          .hint("leave it out; the record's messages and tools stand at keys of their own");
}

}  // namespace

void ChatKeys::fields(config::Fields& f) {
  f("chat_template", chat_template,
    "the file of a Jinja template; by default the one that came with the tokenizer");
  f("date", date, "what a template that asks for the date is told, as \"2024-07-26\"");
  f("mask_user_turns", mask_user_turns,
    "whether only what the template's {% generation %} blocks print is learned");
}

std::optional<std::string> ChatKeys::named_template() const {
  if (!chat_template) return std::nullopt;
  constexpr int64_t kLongest = int64_t{16} << 20;
  if (path_exists(chat_template->resolved) && file_size(chat_template->resolved) > kLongest)
    throw Error(ErrorKind::kData, "the chat template is too long")
        .at(chat_template->resolved)
        .allowed(cat("at most ", format_bytes(kLongest)));
  return read_file(chat_template->resolved);
}

std::string ChatKeys::facts(const text::Tokenizer& tokenizer) const {
  return cat("template ", hash_of_templates(*this, tokenizer), date ? cat(", date ", *date) : "",
             mask_user_turns ? ", user turns masked" : "");
}

ChatWriter::ChatWriter(const ChatKeys& keys, const text::Tokenizer& tokenizer)
    : tokenizer_(tokenizer),
      masks_(keys.mask_user_turns),
      or_all_(keys.always_masks ? "" : ", or learn all turns with mask_user_turns = false"),
      special_tokens_(tokenizer.special_tokens()) {
  if (keys.date) {
    date_ = seconds_of(*keys.date);
    if (!date_)
      throw Error(ErrorKind::kData, cat("date = ", quote(*keys.date), " is no date"))
          .allowed("a year, a month and a day: \"2024-07-26\"");
  }
  const auto named = keys.named_template();
  const auto own = tokenizer.chat_template();
  const auto others = tokenizer.named_chat_templates();
  const auto tool_use = others.find(kToolUse);
  if (named)
    voice_ = voice_of(*named, keys.chat_template->text);
  else if (own)
    voice_ = voice_of(*own, "the tokenizer's chat template");
  if (!named && tool_use != others.end())
    tool_voice_ = voice_of(tool_use->second, "the tokenizer's chat template \"tool_use\"");
  if (!voice_ && !tool_voice_)
    throw Error(
        ErrorKind::kData,
        "there is no chat template: the tokenizer came without one and the config names none")
        .hint("set chat_template = \"FILE.jinja\" in the component's format");
  if (voice_) require_marks(*voice_);
}

ChatWriter::Voice ChatWriter::voice_of(std::string_view text, std::string origin) const {
  Voice voice{text::ChatTemplate(text, std::move(origin)), false};
  // One that does not read parts prints the list as it stands, prints nothing, or refuses.
  try {
    constexpr auto kTried = R"([{"role":"user","content":[{"type":"text","text":"in parts"}]}])";
    const std::string written = render(voice.source, {"", kTried}).text;
    voice.reads_parts = written.find("in parts") != std::string::npos &&
                        written.find("'type':") == std::string::npos &&
                        written.find("\"type\":") == std::string::npos;
  } catch (const Error&) {
    voice.reads_parts = false;
  }
  return voice;
}

/// Throws where only the assistant's words are to be learned and the template does not tell them.
void ChatWriter::require_marks(const Voice& voice) const {
  if (!masks_ || voice.source.has_generation()) return;
  throw Error(ErrorKind::kData, "the chat template does not tell which words are the assistant's")
      .at(voice.source.origin())
      .hint(cat("put {% generation %} and {% endgeneration %} around what the assistant says "
                "(docs/chat.md)",
                or_all_));
}

/// Throws the error of messages whose "weight" says something else than what is learned.
void ChatWriter::require_weights(const ChatRecord& chat) const {
  if (chat.messages.find(R"("weight":)") == std::string::npos) return;
  int64_t number = 0;
  for (const auto& message : nlohmann::ordered_json::parse(chat.messages)) {
    ++number;
    const auto weight = message.value("weight", nlohmann::ordered_json());
    const auto fail = [&](std::string_view what, std::string_view hint) {
      throw Error(ErrorKind::kData,
                  cat("the weight of message ", number, " (", message.value("role", ""), ") is ",
                      as_written(weight), what))
          .at(chat.origin)
          .allowed("0 or 1")
          .hint(std::string(hint));
    };
    if (weight.is_null()) continue;
    if (!weight.is_number() || (weight != 0 && weight != 1)) fail("", "");
    if (weight == 0 && !masks_)
      fail(", and all turns are learned", "leave out mask_user_turns = false");
    if (weight == 1 && masks_ && message.value("role", "") != "assistant")
      fail(", and the assistant's words alone are learned", cat("leave the weight out", or_all_));
  }
}

const ChatWriter::Voice& ChatWriter::voice_for(const ChatRecord& chat) const {
  if (!chat.tools.empty() && tool_voice_) return *tool_voice_;
  if (voice_) return *voice_;
  throw Error(ErrorKind::kData, "the tokenizer's only chat template is for chats with tools")
      .at(chat.origin)
      .hint("set chat_template = \"FILE.jinja\" in the component's format");
}

text::Rendered ChatWriter::render(const text::ChatTemplate& source, const ChatRecord& chat) const {
  return text::render_chat(source, {.messages_json = chat.messages,
                                    .tools_json = chat.tools,
                                    .add_generation_prompt = chat.add_generation_prompt,
                                    .special_tokens = special_tokens_,
                                    .extra_json = chat.extra,
                                    .now_seconds = date_});
}

Document ChatWriter::write(const ChatRecord& chat) const {
  const Voice& voice = voice_for(chat);
  require_marks(voice);
  require_own_names(chat);
  if (!chat.add_generation_prompt) require_weights(chat);
  if (auto joined =
          voice.reads_parts ? std::nullopt : text::join_content_parts(chat.messages, chat.origin)) {
    ChatRecord texts = chat;
    texts.messages = std::move(*joined);
    return write(texts);
  }
  text::Rendered rendered;
  try {
    rendered = render(voice.source, chat);
  } catch (const Error& error) {
    throw Error(ErrorKind::kData, cat("the template refuses the chat: ", error.message()))
        .at(chat.origin)
        .hint(error.hint().empty() ? cat("the template says so at ", error.at()) : error.hint());
  }
  text::MarkedIds made =
      tokenizer_.encode_marked({rendered.text, chat.origin}, rendered.generation);
  Document document{std::move(made.ids), {}};
  if (!masks_) return document;
  bool any = false;
  for (const bool marked : made.marked) {
    document.weights.push_back(marked ? 1.0f : 0.0f);
    any = any || marked;
  }
  if (any) return document;
  // Compact JSON has a bare quote only where a string begins or ends.
  const bool spoke = chat.messages.find(R"("role":"assistant")") != std::string::npos;
  throw Error(ErrorKind::kData, spoke ? "no token of the chat holds a word of the assistant's"
                                      : "the chat has no turn of the assistant")
      .at(chat.origin)
      .hint(cat(
          "a chat is learned by its messages of role \"assistant\" whose weight is not 0; leave "
          "this one out",
          or_all_));
}

}  // namespace levanter::data

// Chats as documents: the template's text as tokens, of which the assistant's own are learned.
#include "data/chat_writer.h"

#include <time.h>

#include "base/error.h"
#include "base/files.h"
#include "base/hash.h"
#include "base/strings.h"

namespace levanter::data {
namespace {

struct TemplateText {
  std::string text, origin;
};

std::optional<TemplateText> find_template(const ChatKeys& keys, const text::Tokenizer& tokenizer) {
  if (auto named = keys.named_template()) return {{std::move(*named), keys.chat_template->text}};
  if (auto own = tokenizer.chat_template())
    return {{std::move(*own), "the tokenizer's chat template"}};
  return std::nullopt;
}

text::ChatTemplate read_template(const ChatKeys& keys, const text::Tokenizer& tokenizer) {
  if (auto found = find_template(keys, tokenizer)) return {found->text, std::move(found->origin)};
  throw Error(ErrorKind::kData,
              "there is no chat template: the tokenizer came without one and none is named")
      .hint("set chat_template = \"FILE.jinja\" in the component's format");
}

/// The seconds of "2024-07-26"; nothing for another text.
std::optional<int64_t> seconds_of(const std::string& date) {
  std::tm parts{};
  const char* end = ::strptime(date.c_str(), "%Y-%m-%d", &parts);
  if (end == nullptr || *end != '\0') return std::nullopt;
  return static_cast<int64_t>(::timegm(&parts));
}

std::optional<std::string> token_text(const text::Tokenizer& tokenizer, std::optional<int32_t> id) {
  if (!id) return std::nullopt;
  return tokenizer.decode(std::span(&*id, 1));
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
  Hasher hasher(Hasher::Width::k128);
  if (const auto found = find_template(*this, tokenizer))
    hasher.update(std::as_bytes(std::span(found->text)));
  return cat("template ", hasher.hex(), date ? cat(", date ", *date) : "",
             mask_user_turns ? ", user turns masked" : "");
}

ChatWriter::ChatWriter(const ChatKeys& keys, const text::Tokenizer& tokenizer)
    : tokenizer_(tokenizer),
      template_(read_template(keys, tokenizer)),
      masks_(keys.mask_user_turns),
      bos_(token_text(tokenizer, tokenizer.bos_id())),
      eos_(token_text(tokenizer, tokenizer.eos_id())) {
  if (keys.date) {
    date_ = seconds_of(*keys.date);
    if (!date_)
      throw Error(ErrorKind::kData, cat("date = ", quote(*keys.date), " is no date"))
          .allowed("a year, a month and a day: \"2024-07-26\"");
  }
  if (masks_ && !template_.has_generation())
    throw Error(ErrorKind::kData, "the chat template does not tell which words are the assistant's")
        .at(template_.origin())
        .hint(
            "put {% generation %} and {% endgeneration %} around what the assistant says "
            "(docs/chat.md), or learn all turns with mask_user_turns = false");
}

Document ChatWriter::write(const ChatRecord& chat) const {
  text::Rendered rendered;
  try {
    rendered = text::render_chat(template_, {.messages_json = chat.messages,
                                             .tools_json = chat.tools,
                                             .add_generation_prompt = chat.add_generation_prompt,
                                             .bos_token = bos_,
                                             .eos_token = eos_,
                                             .extra_json = chat.extra,
                                             .now_seconds = date_});
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
      .hint(
          "a chat is learned by its messages of role \"assistant\"; leave this one out, or learn "
          "all turns with mask_user_turns = false");
}

}  // namespace levanter::data

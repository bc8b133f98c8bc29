// Format "chat": a list of messages, written by a template; what the assistant says is learned.
#include "base/strings.h"
#include "data/chat_writer.h"
#include "data/json_fields.h"

namespace levanter::data::formats {
namespace {

struct ChatConfig final : FormatConfig {
  std::string messages_field = "messages", tools_field = "tools",
              kwargs_field = "chat_template_kwargs";
  std::optional<std::string> system_field;
  ChatKeys keys;

  void fields(config::Fields& f) override {
    f("messages_field", messages_field, "the key of the list of messages, each with a role");
    f("tools_field", tools_field, "the key of the list of tools, where a record has one");
    f("system_field", system_field,
      "the key of a text that goes before the messages with role \"system\", where a record has "
      "one");
    f("kwargs_field", kwargs_field,
      "the key of an object of more variables for the template, where a record has one");
    keys.fields(f);
  }
  bool weighted() const override { return keys.mask_user_turns; }
  std::optional<std::string> chat_template() const override { return keys.named_template(); }
  std::string facts(const DocumentRules& rules) const override {
    return cat("chat at ", messages_field, ", tools at ", tools_field, ", system at ",
               system_field.value_or("none"), ", variables at ", kwargs_field, ", ",
               keys.facts(*rules.tokenizer));
  }
  std::unique_ptr<Format> make(const DocumentRules& rules) const override {
    const auto writer = std::make_shared<const ChatWriter>(keys, *rules.tokenizer);
    return json_format([config = *this, writer](const JsonFields& fields, const std::string& origin,
                                                std::vector<Document>& documents) {
      ChatRecord chat{origin, fields.messages(config.messages_field), "", ""};
      if (config.system_field && fields.has(*config.system_field))
        chat.messages = cat(R"([{"role":"system","content":)", fields.json(*config.system_field),
                            "},", chat.messages.substr(1));
      if (fields.has(config.tools_field)) chat.tools = fields.json(config.tools_field);
      if (fields.has(config.kwargs_field)) chat.extra = fields.json(config.kwargs_field);
      documents.push_back(writer->write(chat));
    });
  }
};

}  // namespace

extern const FormatEntry chat_entry;
const FormatEntry chat_entry = {.name = "chat",
                                .summary = "messages, written by a chat template",
                                .make_config = config::make_choice<ChatConfig>};

}  // namespace levanter::data::formats

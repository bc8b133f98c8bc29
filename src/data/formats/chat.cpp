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
  std::unique_ptr<Format> make(const DocumentRules& rules) const override;
};

class ChatFormat final : public Format {
 public:
  ChatFormat(const ChatConfig& config, const DocumentRules& rules)
      : config_(config), writer_(config.keys, *rules.tokenizer) {}

  void add(const FormatRecord& record, std::vector<Document>& documents) override {
    fields_.parse(record.record);
    ChatRecord chat{record.origin(), fields_.messages(config_.messages_field), "", ""};
    if (config_.system_field && fields_.has(*config_.system_field))
      chat.messages = cat(R"([{"role":"system","content":)", fields_.json(*config_.system_field),
                          "},", chat.messages.substr(1));
    if (fields_.has(config_.tools_field)) chat.tools = fields_.json(config_.tools_field);
    if (fields_.has(config_.kwargs_field)) chat.extra = fields_.json(config_.kwargs_field);
    documents.push_back(writer_.write(chat));
  }

 private:
  const ChatConfig config_;
  const ChatWriter writer_;
  JsonFields fields_;
};

std::unique_ptr<Format> ChatConfig::make(const DocumentRules& rules) const {
  return std::make_unique<ChatFormat>(*this, rules);
}

}  // namespace

extern const FormatEntry chat_entry;
const FormatEntry chat_entry = {.name = "chat",
                                .summary = "messages, written by a chat template",
                                .make_config = config::make_choice<ChatConfig>};

}  // namespace levanter::data::formats

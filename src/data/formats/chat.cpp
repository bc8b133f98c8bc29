// Format "chat": a list of messages, written by a template; what the assistant says is learned.
#include "base/strings.h"
#include "data/chat_writer.h"
#include "data/json_fields.h"

namespace levanter::data::formats {
namespace {

constexpr auto kMessages = "messages";

struct ChatConfig final : FormatConfig {
  std::optional<std::string> preset;
  std::string messages_field = kMessages, tools_field = "tools",
              kwargs_field = "chat_template_kwargs";
  std::optional<std::string> system_field;
  MessageKeys message;
  BrokenTextKey broken;
  ChatKeys keys;

  void fields(config::Fields& f) override {
    f("preset", preset,
      "records of a known shape; openai: the defaults; sharegpt: conversations of from and value; "
      "alpaca: instruction, input and output")
        .one_of({"openai", "sharegpt", "alpaca"});
    f("messages_field", messages_field, "the key of the list of messages, each with a role");
    f("role_field", message.role, "the key of a message's role");
    f("content_field", message.content, "the key of what a message says");
    f("roles", message.roles,
      "what templates call the roles of the file, { human = \"user\" }; another role is then an "
      "error");
    f("tools_field", tools_field, "the key of the list of tools, where a record has one");
    f("system_field", system_field,
      "the key of a text that goes before the messages with role \"system\", where a record has "
      "one");
    f("kwargs_field", kwargs_field,
      "the key of an object of more variables for the template, where a record has one");
    broken.fields(f);
    keys.fields(f);
  }
  bool weighted() const override { return keys.mask_user_turns; }
  std::optional<std::string> chat_template() const override { return keys.named_template(); }
  std::string facts(const DocumentRules& rules) const override {
    std::string roles;
    for (const auto& [word, meaning] : message.roles) roles += cat(" ", word, "=", meaning);
    return cat("chat at ", messages_field, " of ", message.role, " and ", message.content, roles,
               ", tools at ", tools_field, ", system at ", system_field.value_or("none"),
               ", variables at ", kwargs_field, preset ? cat(", preset ", *preset) : "",
               ", nulls dropped, ", keys.facts(*rules.tokenizer));
  }
  std::unique_ptr<Format> make(const DocumentRules& rules) const override {
    const auto writer = std::make_shared<const ChatWriter>(keys, *rules.tokenizer);
    return json_format(broken.policy(), [config = resolved(), writer](
                                            const JsonFields& fields, const std::string& origin,
                                            std::vector<Document>& documents) {
      ChatRecord chat{origin, config.messages(fields)};
      if (config.system_field && fields.has(*config.system_field) &&
          !fields.string(*config.system_field).empty())
        chat.messages = cat(R"([{"role":"system","content":)", fields.json(*config.system_field),
                            "},", chat.messages.substr(1));
      chat.tools = fields.optional_list(config.tools_field);
      chat.extra = fields.optional_object(config.kwargs_field);
      documents.push_back(writer->write(chat));
    });
  }

 private:
  /// With what the preset says in the place of keys that are at their defaults.
  ChatConfig resolved() const {
    ChatConfig config = *this;
    if (preset != "sharegpt" && preset != "alpaca") return config;
    if (!system_field) config.system_field = "system";
    if (preset == "alpaca") return config;
    if (messages_field == kMessages) config.messages_field = "conversations";
    if (message.role == "role") config.message.role = "from";
    if (message.content == "content") config.message.content = "value";
    if (message.roles.empty())
      config.message.roles = {{"human", "user"},        {"gpt", "assistant"},
                              {"chatgpt", "assistant"}, {"bing", "assistant"},
                              {"bard", "assistant"},    {"observation", "tool"},
                              {"system", "system"}};
    return config;
  }
  std::string messages(const JsonFields& fields) const {
    if (preset != "alpaca") return fields.messages(messages_field, message);
    const std::string_view input = fields.optional_string("input").value_or("");
    const std::string asked = cat(fields.string("instruction"), input.empty() ? "" : "\n", input);
    return cat(R"([{"role":"user","content":)", quote(asked), R"(},{"role":"assistant","content":)",
               quote(fields.string("output")), "}]");
  }
};

}  // namespace

extern const FormatEntry chat_entry;
const FormatEntry chat_entry = {.name = "chat",
                                .summary = "messages, written by a chat template",
                                .make_config = config::make_choice<ChatConfig>};

}  // namespace levanter::data::formats

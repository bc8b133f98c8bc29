// Format "chat": a list of messages, written by a template; what the assistant says is learned.
#include "base/strings.h"
#include "config/problems.h"
#include "data/chat_writer.h"
#include "data/files/json_fields.h"

namespace levanter::data::formats {
namespace {

struct ChatConfig final : FormatConfig {
  std::optional<std::string> preset, messages_field, role_field, content_field, system_field;
  std::map<std::string, std::string> roles;
  std::string tools_field = "tools", kwargs_field = "chat_template_kwargs";
  BrokenTextKey broken;
  ChatKeys keys;

  void fields(config::Fields& f) override {
    f("preset", preset,
      "records of a known shape; openai: the defaults; sharegpt: conversations of from and value; "
      "alpaca: instruction, input and output")
        .one_of({"openai", "sharegpt", "alpaca"});
    f("messages_field", messages_field,
      "the key of the list of messages, each with a role; by default the preset's, else messages");
    f("role_field", role_field, "the key of a message's role; by default the preset's, else role");
    f("content_field", content_field,
      "the key of what a message says; by default the preset's, else content");
    f("roles", roles,
      "what templates call the roles of the file, { human = \"user\" }; another role is then an "
      "error");
    f("tools_field", tools_field, "the key of the list of tools, where a record has one");
    f("system_field", system_field,
      "the key of a text that goes before the messages with role \"system\", where a record has "
      "one and its messages do not begin with that role");
    f("kwargs_field", kwargs_field,
      "the key of an object of more variables for the template, where a record has one");
    broken.fields(f);
    keys.fields(f);
  }
  void validate(config::Problems& p) const override {
    if (preset == "alpaca" && (messages_field || role_field || content_field || !roles.empty()))
      p.add("preset", cat(p.name("preset"), " = \"alpaca\" reads no list of messages"))
          .hint("leave out messages_field, role_field, content_field and roles, or the preset");
  }
  bool weighted() const override { return keys.mask_user_turns; }
  std::optional<std::string> chat_template() const override { return keys.named_template(); }
  std::string facts(const DocumentRules& rules) const override {
    const Shape shape = resolved();
    std::string words;
    for (const auto& [word, meaning] : shape.message.roles) words += cat(" ", word, "=", meaning);
    return cat("chat at ", shape.messages, " of ", shape.message.role, " and ",
               shape.message.content, words, ", tools at ", tools_field, ", system at ",
               shape.system.value_or("none"), ", variables at ", kwargs_field,
               preset ? cat(", preset ", *preset) : "", ", nulls dropped, weights heeded, ",
               keys.facts(*rules.tokenizer));
  }
  std::unique_ptr<Format> make(const DocumentRules& rules) const override {
    const auto writer = std::make_shared<const ChatWriter>(keys, *rules.tokenizer);
    return json_format(broken.policy(), [config = *this, shape = resolved(), writer](
                                            const JsonFields& fields, const std::string& origin,
                                            std::vector<Document>& documents) {
      std::vector<Message> messages = config.preset == "alpaca"
                                          ? alpaca_messages(fields)
                                          : fields.messages(shape.messages, shape.message);
      const auto system =
          shape.system ? fields.optional_string(*shape.system).value_or("") : std::string_view();
      if (!system.empty() && messages.front().role != "system")
        messages.insert(messages.begin(), message_of("system", system));
      documents.push_back(
          writer->write({origin, list_of(messages), fields.optional_list(config.tools_field),
                         fields.optional_object(config.kwargs_field)}));
    });
  }

 private:
  /// Where a record has what: as told, else as the preset says.
  struct Shape {
    std::string messages;
    MessageKeys message;
    std::optional<std::string> system;
  };
  Shape resolved() const {
    const bool sharegpt = preset == "sharegpt";
    Shape shape{messages_field.value_or(sharegpt ? "conversations" : "messages"),
                {role_field.value_or(sharegpt ? "from" : "role"),
                 content_field.value_or(sharegpt ? "value" : "content"), roles},
                system_field};
    if (!system_field && (sharegpt || preset == "alpaca")) shape.system = "system";
    if (sharegpt && roles.empty()) {
      shape.message.calls = "function_call";
      shape.message.roles = {{"human", "user"},        {"gpt", "assistant"},
                             {"chatgpt", "assistant"}, {"bing", "assistant"},
                             {"bard", "assistant"},    {"function_call", "assistant"},
                             {"observation", "tool"},  {"system", "system"}};
    }
    return shape;
  }
  static std::vector<Message> alpaca_messages(const JsonFields& fields) {
    const std::string_view input = fields.optional_string("input").value_or("");
    return {message_of("user", cat(fields.string("instruction"), input.empty() ? "" : "\n", input)),
            message_of("assistant", fields.string("output"))};
  }
};

}  // namespace

extern const FormatEntry chat_entry;
const FormatEntry chat_entry = {.name = "chat",
                                .summary = "messages, written by a chat template",
                                .make_config = config::make_choice<ChatConfig>};

}  // namespace levanter::data::formats

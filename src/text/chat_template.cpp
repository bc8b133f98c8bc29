// Chat templates: the Jinja text that turns a list of messages into what a model was trained on.
#include "text/chat_template.h"

#include <algorithm>
#include <utility>

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "json/mend.h"
#include "base/strings.h"
#include "text/jinja/builtins.h"

namespace levanter::text {
namespace {

using jinja::Dict;
using jinja::Value;

[[noreturn]] void rethrow(const jinja::Fault& fault, const std::string& origin) {
  throw Error(ErrorKind::kData, fault.message)
      .at(fault.line > 0 ? cat(origin, ":", fault.line) : origin)
      .allowed(fault.allowed)
      .hint(fault.hint);
}

/// Throws the fault of a text in which a whole number of more than 64 bits is printed.
void require_numbers(std::string_view text) {
  const std::string_view words = kOddNumber.substr(1);  // JSON and repr escape what is before them
  for (size_t at = text.find(words); at != text.npos; at = text.find(words, at + 1)) {
    const std::string_view before = text.substr(0, at);
    if (!before.ends_with(kOddNumber[0]) && !before.ends_with("\\u0001") &&
        !before.ends_with("\\x01"))
      continue;
    const size_t begin = at + words.size();
    const size_t end = std::min(text.size(), text.find_first_not_of("-0123456789", begin));
    throw jinja::Fault{cat("the template prints the number ", text.substr(begin, end - begin)),
                       "whole numbers of 64 bits"};
  }
}

bool holds_generation(const jinja::Block& block) {
  return std::any_of(block.begin(), block.end(), [](const auto& statement) {
    return statement->kind == jinja::StatementKind::kGeneration ||
           holds_generation(statement->body) || holds_generation(statement->other);
  });
}

}  // namespace

struct ChatTemplate::Impl {
  std::string origin;
  jinja::Block block;
  bool has_generation = false;

  /// `see` turns the chat's messages into those that the template sees.
  Rendered run(std::string_view variables_json, std::optional<int64_t> now_seconds,
               Value (*see)(const Value& messages)) const {
    try {
      const Value read = jinja::from_json(variables_json);
      if (!read.is(Value::Kind::kDict))
        jinja::fail("the variables of a template are not a JSON object");
      Dict variables = read.as_dict();
      if (const Value* messages = variables.find("messages"))
        variables.set(Value::string("messages"), see(*messages));
      Rendered rendered =
          jinja::Evaluator(variables, now_seconds, variables_json.size()).run(block);
      require_numbers(rendered.text);
      return rendered;
    } catch (const jinja::Fault& fault) {
      rethrow(fault, origin);
    }
  }
};

ChatTemplate::ChatTemplate(std::string_view source, std::string origin) {
  try {
    jinja::Block block = jinja::parse(source);
    const bool has_generation = holds_generation(block);
    impl_ = std::make_shared<Impl>(Impl{origin, std::move(block), has_generation});
  } catch (const jinja::Fault& fault) {
    rethrow(fault, origin);
  }
}

bool ChatTemplate::has_generation() const { return impl_->has_generation; }
const std::string& ChatTemplate::origin() const { return impl_->origin; }

Rendered ChatTemplate::render(std::string_view variables_json,
                              std::optional<int64_t> now_seconds) const {
  return impl_->run(variables_json, now_seconds, [](const Value& messages) { return messages; });
}

namespace {

/// The message with what it reasons under the names that templates read.
Dict with_reasoning(Dict message) {
  const Value* reasoning = nullptr;
  for (const char* key : {"reasoning_content", "thinking", "reasoning"})
    if (reasoning == nullptr) reasoning = message.find(key);
  if (reasoning == nullptr) return message;
  Dict named;
  named.set(Value::string("thinking"), *reasoning);
  for (auto& [key, value] : message.entries) named.set(key, value);
  named.set(Value::string("reasoning_content"), *reasoning);
  return named;
}

/// The messages as Hugging Face hands them to a template.
Value as_templates_see(const Value& messages) {
  if (!messages.is(Value::Kind::kList)) return messages;
  jinja::List list;
  for (const Value& message : messages.items()) {
    if (!message.is(Value::Kind::kDict)) return messages;
    Dict kept;
    for (const auto& [key, value] : message.as_dict().entries)
      if (!value.is(Value::Kind::kNone)) kept.entries.emplace_back(key, value);
    list.push_back(Value::dict(with_reasoning(std::move(kept))));
  }
  return Value::list(std::move(list));
}

}  // namespace

std::optional<std::string> join_content_parts(std::string_view messages_json,
                                              const std::string& origin) {
  if (messages_json.find(R"("content":[)") == std::string::npos) return std::nullopt;
  bool any = false;
  auto messages = nlohmann::ordered_json::parse(messages_json);
  for (auto& message : messages) {
    if (!message.is_object() || !message.contains("content") || !message["content"].is_array())
      continue;
    std::vector<std::string> texts;
    for (const auto& part : message["content"]) {
      const bool is_text = part.is_object() && part.contains("text") && part["text"].is_string();
      if (!is_text)
        throw Error(ErrorKind::kData,
                    cat("a part of a message's content has no text: ", part.dump().substr(0, 60)))
            .at(origin)
            .allowed("{\"type\": \"text\", \"text\": \"...\"}");
      texts.push_back(part["text"]);
    }
    message["content"] = join(texts, "\n");
    any = true;
  }
  return any ? std::optional(messages.dump()) : std::nullopt;
}

Rendered render_chat(const ChatTemplate& chat_template, const ChatInput& input) {
  const auto text_or = [](std::string_view text, std::string_view other) {
    return text.empty() ? other : text;
  };
  std::string variables = cat(
      "{\"messages\": ", input.messages_json, ", \"tools\": ", text_or(input.tools_json, "null"),
      ", \"documents\": null, \"add_generation_prompt\": ", input.add_generation_prompt);
  for (const auto& [name, token] : input.special_tokens)
    variables += cat(", ", nlohmann::json(name).dump(), ": ", nlohmann::json(token).dump());
  const std::string_view extra = trim(input.extra_json);
  if (!extra.empty()) {
    const auto object = nlohmann::ordered_json::parse(extra, nullptr, false);
    if (!object.is_object())
      throw Error(ErrorKind::kData, "the template's extra variables are not a JSON object")
          .at(chat_template.origin());
    for (const auto& [name, value] : object.items())
      variables += cat(", ", nlohmann::json(name).dump(), ": ", value.dump());
  }
  return chat_template.impl_->run(variables + "}", input.now_seconds, as_templates_see);
}

std::map<std::string, std::string> find_chat_templates(std::string_view tokenizer_config,
                                                       std::string_view origin) {
  const nlohmann::json config = parse_as_python(tokenizer_config);
  if (!config.is_object())
    throw Error(ErrorKind::kData, "the tokenizer's config is not a JSON object")
        .at(std::string(origin));
  const auto found = config.find("chat_template");
  if (found == config.end() || found->is_null()) return {};
  if (found->is_string()) return {{"default", found->get<std::string>()}};
  std::map<std::string, std::string> templates;
  for (const auto& entry : found->is_array() ? *found : nlohmann::json::array({nullptr})) {
    if (!entry.is_object() || !entry.contains("name") || !entry["name"].is_string() ||
        !entry.contains("template") || !entry["template"].is_string())
      throw Error(ErrorKind::kData, "\"chat_template\" is of an unknown form")
          .at(std::string(origin))
          .allowed("a text, or a list of {\"name\": ..., \"template\": ...}");
    templates[entry["name"]] = entry["template"];
  }
  return templates;
}

}  // namespace levanter::text

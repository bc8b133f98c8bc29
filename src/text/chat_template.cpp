// Chat templates: the Jinja text that turns a list of messages into what a model was trained on.
#include "text/chat_template.h"

#include <algorithm>
#include <utility>

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/strings.h"
#include "text/jinja/builtins.h"

namespace levanter::text {
namespace {

using jinja::Value;

[[noreturn]] void rethrow(const jinja::Fault& fault, const std::string& origin) {
  throw Error(ErrorKind::kData, fault.message)
      .at(fault.line > 0 ? cat(origin, ":", fault.line) : origin)
      .allowed(fault.allowed)
      .hint(fault.hint);
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
  try {
    const Value variables = jinja::from_json(variables_json);
    if (!variables.is(Value::Kind::kDict))
      jinja::fail("the variables of a template are not a JSON object");
    return jinja::Evaluator(variables.as_dict(), now_seconds, variables_json.size())
        .run(impl_->block);
  } catch (const jinja::Fault& fault) {
    rethrow(fault, impl_->origin);
  }
}

Rendered render_chat(const ChatTemplate& chat_template, const ChatInput& input) {
  const auto text_or = [](std::string_view text, std::string_view other) {
    return text.empty() ? other : text;
  };
  std::string variables = cat(
      "{\"messages\": ", input.messages_json, ", \"tools\": ", text_or(input.tools_json, "null"),
      ", \"documents\": null, \"add_generation_prompt\": ", input.add_generation_prompt);
  const auto add_token = [&](std::string_view name, const std::optional<std::string>& token) {
    if (token) variables += cat(", \"", name, "\": ", nlohmann::json(*token).dump());
  };
  add_token("bos_token", input.bos_token);
  add_token("eos_token", input.eos_token);
  const std::string_view extra = trim(input.extra_json);
  if (!extra.empty()) {
    const auto object = nlohmann::ordered_json::parse(extra, nullptr, false);
    if (!object.is_object())
      throw Error(ErrorKind::kData, "the template's extra variables are not a JSON object")
          .at(chat_template.origin());
    for (const auto& [name, value] : object.items())
      variables += cat(", ", nlohmann::json(name).dump(), ": ", value.dump());
  }
  return chat_template.render(variables + "}", input.now_seconds);
}

std::optional<std::string> find_chat_template(std::string_view tokenizer_config,
                                              std::string_view origin, std::string_view name) {
  const nlohmann::json config = nlohmann::json::parse(tokenizer_config, nullptr, false);
  if (!config.is_object())
    throw Error(ErrorKind::kData, "the tokenizer's config is not a JSON object")
        .at(std::string(origin));
  const auto found = config.find("chat_template");
  if (found == config.end() || found->is_null()) return std::nullopt;
  if (found->is_string()) return found->get<std::string>();
  const std::string wanted(name.empty() ? "default" : name);  // of which there may be none
  std::vector<std::string> names;
  if (found->is_array()) {
    for (const auto& entry : *found) {
      if (!entry.is_object() || !entry.contains("name") || !entry["name"].is_string() ||
          !entry.contains("template") || !entry["template"].is_string())
        break;
      names.push_back(entry["name"]);
      if (names.back() == wanted) return entry["template"].get<std::string>();
    }
  }
  if (names.empty())
    throw Error(ErrorKind::kData, "\"chat_template\" is of an unknown form")
        .at(std::string(origin))
        .allowed("a text, or a list of {\"name\": ..., \"template\": ...}");
  if (name.empty()) return std::nullopt;
  throw Error(ErrorKind::kData, cat("there is no chat template ", quote(wanted)))
      .at(std::string(origin))
      .allowed(join(names, ", "));
}

}  // namespace levanter::text

// Chats rendered by whole templates: those of the shared data to the byte, and how templates are
// found.
#include "text/chat_template.h"

#include <catch2/catch.hpp>

#include <map>

#include <nlohmann/json.hpp>

#include "base/files.h"
#include "base/strings.h"
#include "support/read_all.h"
#include "support/fault.h"
#include "support/sha256.h"
#include "support/shared_data.h"
#include "text/hf_support.h"

using namespace levanter;
using namespace levanter::text;
using namespace levanter::testing;
using Json = nlohmann::ordered_json;

namespace {

std::vector<Json> json_lines(const std::string& path) {
  std::vector<Json> out;
  for (const std::string& line : split(testing::read_all(path), '\n'))
    if (!line.empty()) out.push_back(Json::parse(line));
  return out;
}

}  // namespace

TEST_CASE("every chat of the shared data renders to the byte and gives the ids", "[text]") {
  const std::string chats_path = shared_data("chat/chat-200.jsonl.gz");
  if (chats_path.empty()) {
    WARN("skipped: the shared data is absent");
    return;
  }
  std::map<std::string, Json> chats;
  for (Json& chat : json_lines(chats_path)) chats[chat["id"]] = chat;
  struct Kind {
    const char *template_name, *rendered_name, *tokenizer;
  };
  for (const auto& [template_name, rendered_name, tokenizer_name] :
       {Kind{"chatml", "chatml-gpt2", "gpt2"}, Kind{"qwen3", "qwen3", "qwen3"}}) {
    const auto tokenizer = hf_tokenizer(shared_data(cat("tokenizers/", tokenizer_name)));
    const std::string path = shared_data(cat("chat/", template_name, ".jinja"));
    const ChatTemplate chat_template(read_file(path), path);
    size_t full = 0;
    const auto wanted = json_lines(shared_data(cat("chat/rendered-", rendered_name, ".jsonl.gz")));
    CHECK(wanted.size() > 200);
    for (const Json& one : wanted) {
      const Json& chat = chats.at(one["id"]);
      INFO(template_name << " " << one["id"]);
      const std::string messages = chat["messages"].dump();
      const std::string tools = one["with_tools"].get<bool>() ? chat["tools"].dump() : "";
      const Rendered rendered = render_chat(
          chat_template, {.messages_json = messages,
                          .tools_json = tools,
                          .add_generation_prompt = one["add_generation_prompt"].get<bool>()});
      CHECK(sha256(rendered.text) == one["rendered_sha256"].get<std::string>());
      CHECK(digest(tokenizer->encode({rendered.text, "chat"})) ==
            one["ids_sha256_u32le"].get<std::string>());
      if (!one.contains("rendered")) continue;
      ++full;
      CHECK(rendered.text == one["rendered"].get<std::string>());
    }
    CHECK(full > 0);
  }
}

TEST_CASE("a chat's variables are those that Transformers passes", "[text]") {
  const ChatTemplate all(
      "{{ bos_token }}|{{ eos_token }}|{{ tools is none }}|{{ documents is none }}|"
      "{{ add_generation_prompt }}|{{ messages[0].content }}|{{ date_string }}|{{ pad_token }}",
      "t.jinja");
  CHECK(render_chat(all, {.messages_json = R"([{"role": "user", "content": "\u00e9\n"}])",
                          .add_generation_prompt = true,
                          .special_tokens = {{"bos_token", "<s>\""}, {"pad_token", "<p>"}},
                          .extra_json = R"({"date_string": "today"})"})
            .text == "<s>\"||True|True|True|\u00e9\n|today|<p>");
  const std::string error = failure_of(
      ErrorKind::kData, [&] { render_chat(all, {.messages_json = "[]", .extra_json = "[1]"}); });
  CHECK_THAT(error, Catch::Contains("extra variables are not a JSON object"));
}

TEST_CASE("the assistant's words are the ranges of generation blocks", "[text]") {
  const ChatTemplate chat(
      "{% for m in messages %}{{ '<' + m.role + '>' }}{% if m.role == 'assistant' %}"
      "{% generation %}{{ m.content + '</s>' }}{% endgeneration %}{% else %}{{ m.content }}"
      "{% endif %}{% endfor %}",
      "t.jinja");
  CHECK(chat.has_generation());
  const Rendered rendered =
      render_chat(chat, {.messages_json = R"([{"role": "user", "content": "h\u00e9"},
              {"role": "assistant", "content": "one"}, {"role": "user", "content": ""},
              {"role": "assistant", "content": "tw\u00f6"}])"});
  std::string words;
  for (const ByteSpan& span : rendered.generation)
    words += rendered.text.substr(span.begin, span.end - span.begin) + "|";
  CHECK(words == "one</s>|tw\u00f6</s>|");
  CHECK_FALSE(ChatTemplate("{{ messages }}", "t.jinja").has_generation());
}

TEST_CASE("messages lose their nulls, and what they reason has every name", "[text]") {
  const auto written = [](std::string_view source, std::string_view messages) {
    return render_chat(ChatTemplate(source, "t.jinja"), {.messages_json = messages}).text;
  };
  CHECK(written("{% for m in messages %}[{{ m.content }}]{% endfor %}",
                R"([{"role": "a", "content": null, "tool_calls": [{"id": null}]},
                    {"role": "a", "content": "x"}])") == "[][x]");
  // What is nested keeps its nulls.
  CHECK(written("{{ messages[0] | tojson }}",
                R"([{"role": "a", "name": null, "tool_calls": [{"id": null}]}])") ==
        R"({"role": "a", "tool_calls": [{"id": null}]})");
  for (const char* key : {"thinking", "reasoning"})
    CHECK(written("{{ messages[0].reasoning_content }}|{{ messages[0].thinking }}",
                  cat(R"([{"role": "a", ")", key, R"(": "hm"}])")) == "hm|hm");
  CHECK(
      written("{{ messages[0] | tojson }}",
              R"([{"role": "a", "reasoning": "r", "thinking": "t", "reasoning_content": "c"}])") ==
      R"({"thinking": "t", "role": "a", "reasoning": "r", "reasoning_content": "c"})");
}

TEST_CASE("templates are found in a tokenizer's config", "[text]") {
  using Templates = std::map<std::string, std::string>;
  CHECK(find_chat_templates(R"({"chat_template": "a{{ b }}"})", "c.json") ==
        Templates{{"default", "a{{ b }}"}});
  CHECK(find_chat_templates(R"({"chat_template": null})", "c.json").empty());
  CHECK(find_chat_templates("{}", "c.json").empty());
  CHECK(find_chat_templates(R"({"chat_template": [{"name": "default", "template": "d"},
                                                  {"name": "tool_use", "template": "t"}]})",
                            "c.json") == Templates{{"default", "d"}, {"tool_use", "t"}});
  for (const char* form : {"1", R"([{"name": "default"}])"})
    CHECK_THAT(
        failure_of(ErrorKind::kData,
                   [&] { find_chat_templates(cat(R"({"chat_template": )", form, "}"), "c.json"); }),
        Catch::Contains("of an unknown form"));
}

// Format "chat": the template's text, the assistant's words, and what it refuses.
#include <catch2/catch.hpp>

#include <nlohmann/json.hpp>

#include "base/files.h"
#include "support/fault.h"
#include "support/formats.h"
#include "support/made_tokenizer.h"
#include "support/read_all.h"
#include "support/shared_data.h"
#include "support/temporary_folder.h"

using namespace levanter;
using namespace levanter::data;
using namespace levanter::testing;

namespace {

using Ids = std::vector<int32_t>;
using Weights = std::vector<float>;

constexpr char kTemplate[] =
    "{{ bos_token }}{% for m in messages %}{{ m.role[0] }}{% if m.role == 'assistant' %}"
    "{% generation %}{{ m.content }};{% endgeneration %}{% else %}{{ m.content }}{% endif %}"
    "{% endfor %}{{ tools | length if tools else '' }}{{ mood if mood is defined else '' }}";

const MadeTokenizer& made_tokenizer() {
  static const MadeTokenizer kMade;
  return kMade;
}

/// A format with a template of its own.
struct ChatCase {
  explicit ChatCase(std::string_view source, std::string_view keys = "",
                    const text::Tokenizer& tokenizer = made_tokenizer()) {
    write_file_atomic(folder / "t.jinja", source);
    made.emplace(cat("type = \"chat\"\nchat_template = \"", folder / "t.jinja", "\"\n", keys),
                 DocumentRules{.tokenizer = &tokenizer});
  }
  std::string fault(std::string_view record) {
    return failure_of(ErrorKind::kData, [&] { made->documents(record, 5); });
  }

  TemporaryFolder folder;
  std::optional<MadeFormat> made;
};

}  // namespace

TEST_CASE("a chat is its template's text, and what the assistant says is learned", "[data]") {
  ChatCase chat(kTemplate);
  CHECK(chat.made->config->weighted());
  const Document d = chat.made->document(
      R"({"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "ab"},
                       {"role": "user", "content": "r"}, {"role": "assistant", "content": ""}]})");
  CHECK(d.tokens == Ids{'u', 'q', 'a', 'a', 'b', ';', 'u', 'r', 'a', ';'});  // no BOS, no EOS
  CHECK(d.weights == Weights{0, 0, 0, 1, 1, 1, 0, 0, 0, 1});

  ChatCase all(kTemplate, "mask_user_turns = false\nsystem_field = \"s\"");
  const Document whole = all.made->document(
      R"({"messages": [{"role": "user", "content": "q"}], "s": "x", "tools": [{}, {}],
          "chat_template_kwargs": {"mood": "!"}})");
  CHECK(whole.tokens == Ids{'s', 'x', 'u', 'q', '2', '!'});
  CHECK(whole.weights.empty());
}

TEST_CASE("a template that asks for the date needs one", "[data]") {
  constexpr char kDated[] = "{{ strftime_now('%d %b %Y') }}";
  constexpr char kRecord[] = R"({"messages": [{"role": "user", "content": "q"}]})";
  CHECK(ChatCase(kDated, "mask_user_turns = false").fault(kRecord) ==
        "error: the template refuses the chat: the template asks for the date, and there is none\n"
        "  at       f.jsonl:5\n  hint     set date = \"2024-07-26\", or another day");
  ChatCase dated(kDated, "mask_user_turns = false\ndate = \"2024-07-26\"");
  CHECK(dated.made->document(kRecord).tokens.size() == std::string("26 Jul 2024").size());
  CHECK_THROWS_WITH(ChatCase(kDated, "mask_user_turns = false\ndate = \"July\""),
                    Catch::Contains("is no date"));
}

TEST_CASE("chats that can't be learned are refused with their place", "[data]") {
  ChatCase chat(kTemplate);
  CHECK_THAT(chat.fault(R"({"messages": [{"role": "user", "content": "q"}]})"),
             Catch::Contains("the chat has no turn of the assistant\n  at       f.jsonl:5"));
  CHECK_THAT(chat.fault(R"({"messages": []})"), Catch::Contains("a chat without a message"));
  CHECK_THAT(chat.fault(R"({"messages": [{"content": "q"}]})"), Catch::Contains("no \"role\""));
  CHECK_THAT(chat.fault(R"({"text": "q"})"), Catch::Contains("f.jsonl:5"));
  ChatCase refusing("{% generation %}{{ raise_exception('no system') }}{% endgeneration %}");
  CHECK_THAT(refusing.fault(R"({"messages": [{"role": "assistant", "content": "q"}]})"),
             Catch::Contains("no system\n  at       f.jsonl:5"));
  ChatCase silent("{% generation %}{% endgeneration %}x");
  CHECK_THAT(silent.fault(R"({"messages": [{"role": "assistant", "content": "q"}]})"),
             Catch::Contains("no token of the chat"));
}

TEST_CASE("a template that does not tell the assistant's words is refused at once", "[data]") {
  CHECK_THROWS_WITH(ChatCase("{{ messages }}"),
                    Catch::Contains("does not tell which words are the assistant's") &&
                        Catch::Contains("{% generation %}"));
  const MadeTokenizer made;
  CHECK_THROWS_WITH(MadeFormat("type = \"chat\"", {.tokenizer = &made}),
                    Catch::Contains("there is no chat template"));
}

namespace {

/// All of the chat is text that is not masked.
std::string text_of(ChatCase& chat, std::string_view record) {
  const Document document = chat.made->document(record);
  return made_tokenizer().decode(document.tokens, text::Special::kSkip);
}

constexpr char kAll[] = "mask_user_turns = false";
constexpr char kPlain[] = "{% for m in messages %}{{ m.role[0] }}{{ m.content }}{% endfor %}";

}  // namespace

TEST_CASE("tools given as a JSON text are those tools", "[data]") {
  ChatCase chat(
      "{% for t in tools or [] %}[{{ t.function.name }}]{% endfor %}{{ messages[0].content }}",
      kAll);
  const auto record = [](std::string_view tools) {
    return cat(R"({"messages": [{"role": "user", "content": "q"}], "tools": )", tools, "}");
  };
  CHECK(text_of(chat, record(R"("[{\"function\": {\"name\": \"look_up\"}}]")")) == "[look_up]q");
  CHECK(text_of(chat, record(R"([{"function": {"name": "look_up"}}])")) == "[look_up]q");
  CHECK(text_of(chat, record(R"("")")) == "q");
  CHECK_THAT(
      chat.fault(record(R"("look_up, find")")),
      Catch::Contains("\"tools\" is a text that is no JSON") && Catch::Contains("f.jsonl:5"));
}

TEST_CASE("what is null is not said", "[data]") {
  ChatCase chat(kTemplate);
  const Document d = chat.made->document(
      R"({"messages": [{"role": "assistant", "content": null, "tool_calls": [{"id": "c"}]},
                       {"role": "tool", "content": "1"},
                       {"role": "assistant", "content": "ok"}]})");
  CHECK(made_tokenizer().decode(d.tokens, text::Special::kSkip) == "a;t1aok;");
}

TEST_CASE("content in parts is handed to templates that read parts, and joined for others",
          "[data]") {
  constexpr char kRecord[] = R"({"messages": [{"role": "user", "content": [
      {"type": "text", "text": "one"}, {"type": "text", "text": "two"}]}]})";
  ChatCase plain(kPlain, kAll);
  CHECK(text_of(plain, kRecord) == "uone\ntwo");
  ChatCase parts(
      "{% for m in messages %}{% if m.content is string %}{{ m.content }}{% else %}"
      "{% for p in m.content %}<{{ p.text }}>{% endfor %}{% endif %}{% endfor %}",
      kAll);
  CHECK(text_of(parts, kRecord) == "<one><two>");
  // Only messages have parts, not what tools are called with.
  constexpr char kCalls[] = R"({"messages": [
      {"role": "user", "content": [{"type": "text", "text": "one"}]},
      {"role": "user", "content": "two", "tool_calls": [{"content": [1]}]}]})";
  CHECK(text_of(plain, kCalls) == "uoneutwo");
  CHECK_THAT(plain.fault(R"({"messages": [{"role": "user", "content": [{"type": "image"}]}]})"),
             Catch::Contains("has no text") && Catch::Contains("f.jsonl:5"));
}

TEST_CASE("a word names the shape of the records", "[data]") {
  ChatCase sharegpt(kPlain, cat(kAll, "\npreset = \"sharegpt\""));
  CHECK(text_of(sharegpt, R"({"system": "s", "conversations": [{"from": "human", "value": "q"},
                              {"from": "gpt", "value": "a"}]})") == "ssuqaa");
  CHECK_THAT(sharegpt.fault(R"({"conversations": [{"from": "narrator", "value": "q"}]})"),
             Catch::Contains("\"narrator\"") && Catch::Contains("human"));
  ChatCase alpaca(kPlain, cat(kAll, "\npreset = \"alpaca\""));
  CHECK(text_of(alpaca, R"({"instruction": "i", "input": "n", "output": "o"})") == "ui\nnao");
  CHECK(text_of(alpaca, R"({"instruction": "i", "output": "o"})") == "uiao");
  ChatCase openai(kPlain, cat(kAll, "\npreset = \"openai\""));
  CHECK(text_of(openai, R"({"messages": [{"role": "user", "content": "q"}]})") == "uq");
  ChatCase named(kPlain, cat(kAll,
                             "\nmessages_field = \"turns\"\nrole_field = \"who\"\n"
                             "content_field = \"what\"\nroles = { me = \"user\" }"));
  CHECK(text_of(named, R"({"turns": [{"who": "me", "what": "q"}]})") == "uq");
}

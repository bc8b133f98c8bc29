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

TEST_CASE("a turn of sharegpt that calls functions is the assistant's, with its calls", "[data]") {
  ChatCase chat(
      "{% for m in messages %}{{ m.role[0] }}{% if m.tool_calls %}{% generation %}"
      "{% for c in m.tool_calls %}{{ c.function.name }}{{ c.function.arguments | tojson }}"
      "{% endfor %}{% endgeneration %}{% else %}{{ m.content }}{% endif %}{% endfor %}",
      "preset = \"sharegpt\"");
  const auto record = [](std::string_view said) {
    return cat(R"({"conversations": [{"from": "human", "value": "q"}, {"from": "function_call",
               "value": )",
               said, R"(}, {"from": "observation", "value": "r"},
               {"from": "tool", "value": "s"}]})");
  };
  const Document d =
      chat.made->document(record(R"("{\"name\": \"f\", \"arguments\": {\"b\": 1}}")"));
  CHECK(made_tokenizer().decode(d.tokens, text::Special::kSkip) == "uqaf{\"b\": 1}trts");
  CHECK(d.weights == Weights{0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0});
  CHECK(text_of(chat,
                record(R"([{"name": "f", "arguments": {}}, {"name": "g", "arguments": {}}])")) ==
        "uqaf{}g{}trts");
  for (const char* said : {R"("look it up")", "[]", R"({"name": "f"})", "null",
                           R"([{"name": "f", "arguments": {}}, 1])"})
    CHECK_THAT(chat.fault(record(said)),
               Catch::Contains("\"conversations[1]\" calls no function\n  at       f.jsonl:5"));
}

TEST_CASE("a variable that the call itself gives is refused by its name", "[data]") {
  ChatCase chat(kTemplate);
  for (const char* name : {"messages", "tools", "add_generation_prompt", "chat_template"})
    CHECK_THAT(
        chat.fault(cat(R"({"messages": [{"role": "assistant", "content": "a"}],
                              "chat_template_kwargs": {"mood": "!", ")",
                       name, R"(": []}})")),
        Catch::StartsWith(cat("error: the variables for the template have one named \"", name,
                              "\", which the call itself gives\n  at       f.jsonl:5")));
  CHECK(text_of(chat, R"({"messages": [{"role": "assistant", "content": "a"}],
                      "chat_template_kwargs": {"mood": "!", "bos_token": "B"}})") == "Baa;!");
}

TEST_CASE("messages of weight 0 are read and not learned", "[data]") {
  ChatCase chat(kTemplate);
  const auto record = [](std::string_view first, std::string_view second) {
    return cat(R"({"messages": [{"role": "user", "content": "q", "weight": 0},
                   {"role": "assistant", "content": "ab")",
               first,
               R"(}, {"role": "user", "content": "r"}, {"role": "assistant", "content": "c")",
               second, "}]}");
  };
  constexpr char kZero[] = R"(, "weight": 0)", kOne[] = R"(, "weight": 1)";
  const Ids ids{'u', 'q', 'a', 'a', 'b', ';', 'u', 'r', 'a', 'c', ';'};
  CHECK(chat.made->document(record(kZero, kOne)).tokens == ids);
  CHECK(chat.made->document(record(kZero, kOne)).weights ==
        Weights{0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1});
  CHECK(chat.made->document(record(kOne, kZero)).weights ==
        Weights{0, 0, 0, 1, 1, 1, 0, 0, 0, 0, 0});
  CHECK(chat.made->document(record("", R"(, "weight": null)")).weights ==
        Weights{0, 0, 0, 1, 1, 1, 0, 0, 0, 1, 1});
  CHECK_THAT(chat.fault(record(kZero, kZero)), Catch::Contains("whose weight is not 0"));
  CHECK(chat.fault(record(R"(, "weight": 0.5)", "")) ==
        "error: the weight of message 2 (assistant) is 0.5\n  at       f.jsonl:5\n"
        "  allowed  0 or 1");
  for (const char* other : {"true", "\"0\"", "2", "-1", "NaN", "[0]"})
    CHECK_THAT(chat.fault(record(cat(", \"weight\": ", other), "")),
               Catch::Contains("the weight of message 2"));
  CHECK_THAT(
      chat.fault(R"({"messages": [{"role": "user", "content": "q", "weight": 1},
                                         {"role": "assistant", "content": "a"}]})"),
      Catch::Contains("the weight of message 1 (user) is 1, and the assistant's words alone"));
  CHECK_THAT(ChatCase(kTemplate, kAll).fault(record(kZero, "")),
             Catch::Contains("is 0, and all turns are learned"));
}

TEST_CASE("a weight is heeded in any loop over messages, and refused where there is none",
          "[data]") {
  constexpr char kRecord[] = R"({"messages": [{"role": "user", "content": "q"},
      {"role": "assistant", "content": "a", "tool_calls": [{"n": "b"}], "weight": 0},
      {"role": "assistant", "content": "c", "tool_calls": [{"n": "d"}]}]})";
  ChatCase sliced(
      "{% set first = messages[0] %}{% for m in messages[1:] %}{% generation %}{{ m.content }}"
      "{% endgeneration %}{% for t in m.tool_calls %}{% generation %}{{ t.n }}{% endgeneration %}"
      "{% endfor %}{% endfor %}");
  CHECK(sliced.made->document(kRecord).weights == Weights{0, 0, 1, 1});
  ChatCase counted(
      "{% for i in range(1, 3) %}{% generation %}{{ messages[i].content }}{% endgeneration %}"
      "{% endfor %}");
  CHECK_THAT(counted.fault(kRecord),
             Catch::Contains("is not learned, and the template does not tell which it writes") &&
                 Catch::Contains("f.jsonl:5"));
}

TEST_CASE("numbers that only Python reads end a chat only where they are printed", "[data]") {
  ChatCase plain(kPlain, kAll);
  const auto record = [](std::string_view more) {
    return cat(R"({"messages": [{"role": "user", "content": "q", "n": )", more,
               R"(}], "tools": [{"most": )", more, "}]}");
  };
  ChatCase printing("{{ messages[0].n }} {{ tools | tojson }}", kAll);
  constexpr char kLong[] = "123456789012345678901234567890";
  for (const char* number : {"NaN", "-Infinity", "1e999", kLong, "18446744073709551615"})
    CHECK(text_of(plain, record(number)) == "uq");
  CHECK(text_of(printing, record("NaN")) == "nan [{\"most\": NaN}]");
  CHECK(text_of(printing, record("-1e999")) == "-inf [{\"most\": -Infinity}]");
  for (const char* source : {"{{ messages[0].n }}", "{{ tools | tojson }}", "{{ tools }}"})
    CHECK_THAT(ChatCase(source, kAll).fault(record(kLong)),
               Catch::Contains(cat("the template prints the number ", kLong)) &&
                   Catch::Contains("f.jsonl:5"));
}

TEST_CASE("a key that is set wins over the preset's, also one set to the plain name", "[data]") {
  ChatCase chat(kPlain, cat(kAll,
                            "\npreset = \"sharegpt\"\nmessages_field = \"messages\"\n"
                            "role_field = \"role\"\ncontent_field = \"content\""));
  CHECK(text_of(chat, R"({"conversations": 1, "messages": [{"from": 1, "role": "human",
                          "content": "q", "value": "other"}]})") == "uq");
  CHECK_THROWS_WITH(ChatCase(kPlain, cat(kAll, "\npreset = \"alpaca\"\nrole_field = \"role\"")),
                    Catch::Contains("reads no list of messages"));
}

TEST_CASE("an assistant's message that says nothing is refused", "[data]") {
  ChatCase openai(kPlain, kAll);
  ChatCase sharegpt(kPlain, cat(kAll, "\npreset = \"sharegpt\""));
  ChatCase renamed(kPlain, cat(kAll, "\npreset = \"sharegpt\"\nrole_field = \"role\""));
  const auto fault = [](ChatCase& chat, std::string_view record) {
    const std::string said = chat.fault(record);
    INFO(said);
    CHECK(said.find("says nothing: it has no") != std::string::npos);
  };
  fault(openai,
        R"({"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "text": "b"}]})");
  fault(sharegpt, R"({"conversations": [{"from": "human", "value": "q"}, {"from": "gpt"}]})");
  fault(renamed, R"({"conversations": [{"role": "user", "value": "q"},
                                       {"role": "assistant", "content": "b"}]})");
}

TEST_CASE("of a system field and a system turn the turn is kept", "[data]") {
  ChatCase chat(kPlain, cat(kAll, "\npreset = \"sharegpt\""));
  CHECK(text_of(chat, R"({"system": "field", "conversations": [{"from": "system", "value": "turn"},
                          {"from": "human", "value": "q"}]})") == "sturnuq");
}

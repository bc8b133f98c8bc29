// Format "preference": texts and chats, the answers that are asked for.
#include <catch2/catch.hpp>

#include "base/files.h"
#include "support/fault.h"
#include "support/formats.h"
#include "support/made_tokenizer.h"
#include "support/temporary_folder.h"

using namespace levanter;
using namespace levanter::data;
using namespace levanter::testing;

namespace {

using Ids = std::vector<int32_t>;
using Weights = std::vector<float>;

constexpr char kTexts[] = R"({"prompt": "ab", "chosen": "c", "rejected": "de"})";
constexpr char kChats[] = R"({"prompt": [{"role": "user", "content": "q"}],
    "chosen": [{"role": "assistant", "content": "y"}],
    "rejected": [{"role": "assistant", "content": "n"}]})";

}  // namespace

TEST_CASE("of two answers those that are asked for become documents", "[data]") {
  const MadeTokenizer made;
  MadeFormat chosen("type = \"preference\"", {.tokenizer = &made});
  CHECK(chosen.document(kTexts).tokens == Ids{'a', 'b', 'c', 257});
  CHECK(chosen.document(kTexts).weights == Weights{0, 0, 1, 1});
  MadeFormat rejected("type = \"preference\"\nlearn = \"rejected\"", {.tokenizer = &made});
  CHECK(rejected.document(kTexts).tokens == Ids{'a', 'b', 'd', 'e', 257});
  MadeFormat both("type = \"preference\"\nlearn = \"both\"\nmask_user_turns = false",
                  {.tokenizer = &made});
  CHECK_FALSE(both.config->weighted());
  const std::vector<Document> pair = both.documents(kTexts);
  REQUIRE(pair.size() == 2);
  CHECK(pair[0].tokens == chosen.document(kTexts).tokens);
  CHECK(pair[1].tokens == rejected.document(kTexts).tokens);
  CHECK(pair[0].weights.empty());
}

TEST_CASE("a pair is both answers, which must differ and have something to learn", "[data]") {
  const MadeTokenizer made;
  MadeFormat format("type = \"preference\"\nlearn = \"pair\"", {.tokenizer = &made});
  CHECK(format.config->pairs());
  CHECK(format.config->weighted());
  const std::vector<Document> pair = format.documents(kTexts);
  REQUIRE(pair.size() == 2);
  CHECK(pair[0].tokens == Ids{'a', 'b', 'c', 257});
  CHECK(pair[1].tokens == Ids{'a', 'b', 'd', 'e', 257});
  CHECK(pair[1].weights == Weights{0, 0, 1, 1, 1});
  const auto refusal = [&](std::string_view record) {
    return failure_of(ErrorKind::kData, [&] { format.documents(record, 7); });
  };
  CHECK_THAT(
      refusal(R"({"prompt": "ab", "chosen": "c", "rejected": "c"})"),
      Catch::Contains("\"chosen\" and \"rejected\" are the same answer, and there is nothing "
                      "to prefer") &&
          Catch::Contains("at       f.jsonl:7") && Catch::Contains("on_bad_record"));
  CHECK_THAT(refusal(R"({"prompt": "ab", "chosen": "c"})"), Catch::Contains("rejected"));
  MadeFormat endless("type = \"preference\"\nlearn = \"pair\"",
                     {.tokenizer = &made, .enforce_eos = false});
  CHECK_THAT(
      failure_of(ErrorKind::kData,
                 [&] { endless.documents(R"({"prompt": "ab", "chosen": "c", "rejected": ""})"); }),
      Catch::Contains("\"rejected\" is an answer without a token, and a pair has two"));
  CHECK_THAT(
      failure_of(ErrorKind::kData,
                 [&] { endless.documents(R"({"prompt": "", "chosen": "cd", "rejected": "c"})"); }),
      Catch::Contains("\"rejected\" is one token with nothing before it"));
  CHECK_THAT(failure_of(ErrorKind::kConfig,
                        [&] {
                          MadeFormat(
                              "type = \"preference\"\nlearn = \"pair\"\n"
                              "mask_user_turns = false",
                              {.tokenizer = &made});
                        }),
             Catch::Contains("of a pair only the answers count"));
}

TEST_CASE("answers that are messages follow the prompt's messages", "[data]") {
  const TemporaryFolder folder;
  write_file_atomic(
      folder / "t.jinja",
      "{% for m in messages %}{{ m.role[0] }}{% generation %}{{ m.content if m.role == "
      "'assistant' else '' }}{% endgeneration %}{{ m.content if m.role == 'user' else '' }}"
      "{% endfor %}");
  const MadeTokenizer made;
  MadeFormat format(
      cat("type = \"preference\"\nlearn = \"both\"\nchat_template = \"", folder / "t.jinja", "\""),
      {.tokenizer = &made});
  const std::vector<Document> pair = format.documents(kChats);
  REQUIRE(pair.size() == 2);
  CHECK(pair[0].tokens == Ids{'u', 'q', 'a', 'y'});
  CHECK(pair[0].weights == Weights{0, 0, 0, 1});
  CHECK(pair[1].tokens == Ids{'u', 'q', 'a', 'n'});
}

TEST_CASE("of a preference's chat what follows the prompt is learned, and tools are seen",
          "[data]") {
  const TemporaryFolder folder;
  write_file_atomic(folder / "t.jinja",
                    "{{ tools | length if tools else '' }}{% for m in messages %}"
                    "{% if m.role == 'user' %}{{ m.content }}{% else %}{% generation %}"
                    "{{ m.content }}{% endgeneration %}{% endif %}{% endfor %}");
  const MadeTokenizer made;
  MadeFormat format(cat("type = \"preference\"\nchat_template = \"", folder / "t.jinja", "\""),
                    {.tokenizer = &made});
  constexpr char kTurns[] = R"([{"role": "user", "content": "q"},
      {"role": "assistant", "content": "a"}, {"role": "user", "content": "r"})";
  constexpr char kAnswer[] = R"({"role": "assistant", "content": "yz"}])";
  constexpr char kOther[] = R"({"role": "assistant", "content": "no"}])";
  const Document whole =
      format.document(cat(R"({"chosen": )", kTurns, ", ", kAnswer, R"(, "rejected": )", kTurns,
                          ", ", kOther, R"(, "tools": [{"name": "t"}]})"));
  CHECK(whole.tokens == Ids{'1', 'q', 'a', 'r', 'y', 'z'});
  CHECK(whole.weights == Weights{0, 0, 0, 0, 1, 1});
  // A prompt that the answer repeats is told once.
  const Document told = format.document(cat(R"({"prompt": )", kTurns, R"(], "chosen": )", kTurns,
                                            ", ", kAnswer, R"(, "rejected": []})"));
  CHECK(told.tokens == Ids{'q', 'a', 'r', 'y', 'z'});
  CHECK(told.weights == Weights{0, 0, 0, 1, 1});
}

TEST_CASE("answers that hold their prompt begin where they differ", "[data]") {
  const TemporaryFolder folder;
  write_file_atomic(
      folder / "t.jinja",
      "{% for m in messages %}{% if m.role == 'user' %}{{ m.content }}{% else %}"
      "{% generation %}{{ m.content[0] }}{% endgeneration %}-"
      "{% generation %}{{ m.content[1:] }}{% endgeneration %}{% endif %}{% endfor %}");
  const MadeTokenizer made;
  MadeFormat format(
      cat("type = \"preference\"\nlearn = \"both\"\nchat_template = \"", folder / "t.jinja", "\""),
      {.tokenizer = &made});
  // A letter that is a capital is the assistant's.
  const auto list = [](std::string_view turns) {
    std::vector<std::string> messages;
    for (const char turn : turns)
      messages.push_back(cat(R"({"role": ")", turn < 'a' ? "assistant" : "user",
                             R"(", "content": ")", turn, turn, R"("})"));
    return cat("[", join(messages, ", "), "]");
  };
  const auto pair = [&](std::string_view chosen, std::string_view rejected) {
    return format.documents(
        cat(R"({"chosen": )", list(chosen), R"(, "rejected": )", list(rejected), "}"));
  };
  const auto learned = [](const Document& document) {
    std::string text;
    for (size_t i = 0; i < document.tokens.size(); ++i)
      if (document.weights[i] > 0) text += static_cast<char>(document.tokens[i]);
    return text;
  };
  CHECK(learned(pair("pX", "pY")[0]) == "XX");  // in two blocks
  CHECK(learned(pair("pX", "pY")[1]) == "YY");
  CHECK(learned(pair("pXqC", "pY")[0]) == "XXCC");
  CHECK(learned(pair("pXqC", "pXqD")[0]) == "CC");
  CHECK(learned(pair("pXqC", "pX")[0]) == "XXCC");  // of the shorter one the last is no prompt
  CHECK(learned(pair("pXqC", "pXqC")[1]) == "CC");
  CHECK(learned(pair("sXqC", "tXqD")[0]) == "XXCC");
  // The order of keys is no matter.
  CHECK(learned(format.documents(cat(R"({"chosen": )", list("pXqC"), R"(, "rejected": [
      {"content": "pp", "role": "user"}, {"content": "XX", "role": "assistant"},
      {"content": "z", "role": "user"}, {"content": "DD", "role": "assistant"}]})"))[0]) == "CC");
  // A prompt that is given is all of the prompt.
  CHECK(learned(format.documents(cat(R"({"prompt": )", list("p"), R"(, "chosen": )", list("XqC"),
                                     R"(, "rejected": )", list("XqD"), "}"))[0]) == "XXCC");
}

TEST_CASE("texts that hold their prompt begin where they differ, blank and all", "[data]") {
  const MadeTokenizer made;
  MadeFormat format("type = \"preference\"\nlearn = \"both\"", {.tokenizer = &made});
  const auto learned = [&](std::string_view chosen, std::string_view rejected) {
    std::string text;
    for (const Document& document : format.documents(
             cat(R"({"chosen": ")", chosen, R"(", "rejected": ")", rejected, R"("})"))) {
      for (size_t i = 0; i + 1 < document.tokens.size(); ++i)  // less EOS
        if (document.weights[i] > 0) text += static_cast<char>(document.tokens[i]);
      text += "|";
    }
    return text;
  };
  CHECK(learned("The sky is blue.", "The sky is green.") == " blue.| green.|");
  CHECK(learned("The sky is blue.", "The sky is black.") == "ue.|ack.|");
  CHECK(learned("ab", "abcd") == "b|bcd|");
  CHECK(learned("ab", "ab") == "b|b|");
  CHECK(learned("a ", "b") == "a |b|");
  CHECK(learned("a\u00e9", "a\u00e8") == "\u00e9|\u00e8|");  // which share their first byte
  CHECK(learned("", "b") == "|b|");
}

namespace {

/// Chats as the first letters of roles and what they say.
struct Letters {
  Letters(const std::string& keys) {
    write_file_atomic(folder / "t.jinja",
                      "{% for m in messages %}{{ m.role[0] }}{{ m.content }}{% endfor %}");
    format.emplace(cat("type = \"preference\"\nmask_user_turns = false\nchat_template = \"",
                       folder / "t.jinja", "\"\n", keys),
                   DocumentRules{.tokenizer = &made});
  }
  std::string text(std::string_view record) {
    return made.decode(format->document(record).tokens, text::Special::kSkip);
  }
  TemporaryFolder folder;
  MadeTokenizer made;
  std::optional<MadeFormat> format;
};

}  // namespace

TEST_CASE("a prompt that is a text stands before lists that do not hold it", "[data]") {
  Letters letters("preset = \"ultrafeedback\"");
  CHECK(letters.text(R"({"prompt": "Hi", "chosen": [{"role": "user", "content": "Hi"},
      {"role": "assistant", "content": "Good"}], "rejected": [], "score_rejected": null})") ==
        "uHiaGood");
  CHECK(letters.text(R"({"prompt": "Hi", "rejected": [],
                         "chosen": [{"role": "assistant", "content": "Good"}]})") == "uHiaGood");
  CHECK(letters.text(R"({"rejected": "[]",
      "chosen": "[{\"role\": \"assistant\", \"content\": \"Good\"}]"})") == "aGood");
}

TEST_CASE("of a dialogue of hh the assistant's last turn is the answer", "[data]") {
  const MadeTokenizer made;
  MadeFormat format("type = \"preference\"\npreset = \"hh\"", {.tokenizer = &made});
  constexpr std::string_view kPrompt = "\n\nHuman: a\n\nAssistant: b\n\nHuman: c\n\nAssistant:";
  const Document d = format.document(
      R"({"chosen": "\n\nHuman: a\n\nAssistant: b\n\nHuman: c\n\nAssistant: d", "rejected": ""})");
  REQUIRE(d.tokens.size() == kPrompt.size() + 3);  // " d" and EOS
  for (size_t i = 0; i < d.weights.size(); ++i)
    CHECK(d.weights[i] == (i < kPrompt.size() ? 0.0f : 1.0f));
  CHECK_THAT(failure_of(ErrorKind::kData,
                        [&] { format.document(R"({"chosen": "a", "rejected": "b"})", 7); }),
             Catch::Contains("no dialogue") && Catch::Contains("f.jsonl:7"));
}

TEST_CASE("a pair of dialogues of hh has one prompt", "[data]") {
  const MadeTokenizer made;
  const std::string same = R"({"chosen": "\n\nHuman: a\n\nAssistant: b",
                               "rejected": "\n\nHuman: a\n\nAssistant: c"})";
  const std::string other = R"({"chosen": "\n\nHuman: a\n\nAssistant: b",
                                "rejected": "\n\nHuman: x\n\nAssistant: c"})";
  MadeFormat pair("type = \"preference\"\npreset = \"hh\"\nlearn = \"pair\"", {.tokenizer = &made});
  CHECK(pair.documents(same).size() == 2);
  CHECK_THAT(failure_of(ErrorKind::kData, [&] { pair.documents(other, 5); }),
             Catch::Contains("\"chosen\" and \"rejected\" answer different prompts") &&
                 Catch::Contains("f.jsonl:5"));
  MadeFormat both("type = \"preference\"\npreset = \"hh\"\nlearn = \"both\"", {.tokenizer = &made});
  CHECK(both.documents(other).size() == 2);
}

TEST_CASE("of a pair's template no hint names a key that pairs refuse", "[data]") {
  const MadeTokenizer made;
  const TemporaryFolder folder;
  write_file_atomic(folder / "t.jinja", "{% for m in messages %}{{ m.content }}{% endfor %}");
  const auto fault = [&](const std::string& learn) {
    MadeFormat format(cat("type = \"preference\"\nlearn = \"", learn, "\"\nchat_template = \"",
                          folder / "t.jinja", "\""),
                      {.tokenizer = &made});
    return failure_of(ErrorKind::kData, [&] { format.documents(kChats, 3); });
  };
  CHECK_THAT(fault("both"), Catch::Contains("or learn all turns with mask_user_turns = false"));
  CHECK_THAT(fault("pair"),
             Catch::Contains("{% endgeneration %} around") && !Catch::Contains("mask_user_turns"));
}

TEST_CASE("a record that lacks an answer is refused, also one that is not learned", "[data]") {
  const MadeTokenizer made;
  MadeFormat format("type = \"preference\"", {.tokenizer = &made});
  const std::string fault = failure_of(
      ErrorKind::kData, [&] { format.documents(R"({"prompt": "a", "chosen": "b"})", 3); });
  CHECK(fault.find("f.jsonl:3") != std::string::npos);
  CHECK(fault.find("\"rejected\"") != std::string::npos);
  CHECK(failure_of(ErrorKind::kData, [&] {
          format.documents(kChats, 4);
        }).find("there is no chat template") != std::string::npos);
}

TEST_CASE("a prompt that is a text goes behind the system's turn", "[data]") {
  Letters letters("");
  CHECK(letters.text(R"({"prompt": "Hi", "rejected": [], "chosen": [
      {"content": "Be brief", "role": "system"}, {"role": "assistant", "content": "Good"}]})") ==
        "sBe briefuHiaGood");
  CHECK(letters.text(R"({"prompt": "Hi", "rejected": [], "chosen": [
      {"role": "system", "content": "Be brief"}, {"role": "user", "content": "Hi"},
      {"content": "Good", "role": "assistant"}]})") == "sBe briefuHiaGood");
}

TEST_CASE("an answer that is code beginning as a list is a text", "[data]") {
  const MadeTokenizer made;
  MadeFormat format("type = \"preference\"", {.tokenizer = &made});
  CHECK(format.document(R"({"prompt": "a", "chosen": "[{x}]", "rejected": "b"})").tokens ==
        Ids{'a', '[', '{', 'x', '}', ']', 257});
}

TEST_CASE("what people say behind the answer of a dialogue is not learned", "[data]") {
  const MadeTokenizer made;
  MadeFormat format("type = \"preference\"\npreset = \"hh\"", {.tokenizer = &made});
  const std::string text = made.decode(
      format.document(R"({"chosen": "\n\nHuman: a\n\nAssistant: b\n\nHuman: c", "rejected": ""})")
          .tokens,
      text::Special::kSkip);
  CHECK(text == "\n\nHuman: a\n\nAssistant: b");
  CHECK_THROWS_WITH(MadeFormat("type = \"preference\"\npreset = \"hh\"\nprompt_field = \"prompt\"",
                               {.tokenizer = &made}),
                    Catch::Contains("is not read with preset = \"hh\""));
}

TEST_CASE("a pair of the wrong shape is refused for its shape", "[data]") {
  const MadeTokenizer made;  // which has no chat template
  MadeFormat format("type = \"preference\"", {.tokenizer = &made});
  MadeFormat hh("type = \"preference\"\npreset = \"hh\"", {.tokenizer = &made});
  const auto fault = [](MadeFormat& of, std::string_view record) {
    return failure_of(ErrorKind::kData, [&] { of.documents(record, 3); });
  };
  for (const char* rejected : {"null", "1", "{\"role\": \"user\"}"})
    CHECK_THAT(fault(format, cat(R"({"prompt": "a", "chosen": "b", "rejected": )", rejected, "}")),
               Catch::Contains("\"rejected\" is ") &&
                   Catch::Contains(", not a text or messages\n  at       f.jsonl:3"));
  CHECK_THAT(fault(format, R"({"chosen": [], "rejected": "b"})"),
             Catch::Contains("a chat without a message\n  at       f.jsonl:3"));
  CHECK_THAT(fault(format, R"({"chosen": ["b"], "rejected": "b"})"),
             Catch::Contains("\"chosen[0]\" is a string"));
  CHECK_THAT(fault(format, kChats),
             Catch::Contains("no chat template") && Catch::Contains("\n  at       f.jsonl:3"));
  CHECK_THAT(fault(hh, kChats), Catch::Contains("is a list of messages, not a dialogue"));
  CHECK_THAT(fault(format, R"({"rejected": [], "chosen": [{"role": "assistant", "content": "a",
                               "weight": 0}]})"),
             Catch::Contains("\"chosen\" has a message of weight 0"));
  // Another object's weight is not the message's.
  CHECK_THAT(fault(format, R"({"rejected": [{"role": "assistant", "content": "b"}],
                               "chosen": [{"role": "assistant", "content": "a",
                               "x": {"weight": 0}}]})"),
             Catch::Contains("no chat template"));
}

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

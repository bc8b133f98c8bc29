// Format "supervised": the prompt has weight 0, the answer and its end 1.
#include <catch2/catch.hpp>

#include "data/format.h"
#include "data/rows/packing.h"
#include "support/fault.h"
#include "support/formats.h"
#include "support/made_tokenizer.h"

using namespace levanter;
using namespace levanter::data;
using namespace levanter::testing;

namespace {

using Ids = std::vector<int32_t>;

constexpr char kSupervised[] = "type = \"supervised\"";

}  // namespace

TEST_CASE("only the answer and its end are learned", "[data]") {
  const MadeTokenizer made(true);
  MadeFormat format(kSupervised, {.tokenizer = &made});
  CHECK(format.config->weighted());
  const Document d = format.document(R"({"prompt": "ab", "response": "cd"})");
  CHECK(d.tokens == Ids{256, 'a', 'b', 'c', 'd', 257});
  CHECK(d.weights == std::vector<float>{0, 0, 0, 1, 1, 1});

  // As a row: the position that reads the prompt's last token learns the answer's first.
  auto stream = std::make_shared<TokenStream>(258);
  stream->append(d.tokens, d.weights);
  const auto plan = std::make_shared<PackPlan>(*stream, PackOptions{.seq_len = 8});
  const Example row = SyncDataset<Example>(packed(stream, plan))[0];
  CHECK(row.tokens[2] == 'b');
  CHECK(row.targets[2] == 'c');
  CHECK(row.loss_weight == std::vector<float>{0, 0, 1, 1, 1, 0, 0, 0});
}

TEST_CASE("prompt and answer are encoded as the one text that they are", "[data]") {
  // "=" and "2" have a token of their own together, so the prompt's three tokens end within it.
  const auto tokenizer = text::load_tokenizer(
      R"({"type":"hf","added":[],"tokenizer":{"model":{"type":"BPE","vocab":
          {"1":0,"+":1,"=":2,"2":3,"=2":4,"3":5},"merges":[["=","2"]]}}})",
      "tokenizer.json");
  MadeFormat format(kSupervised, {.tokenizer = tokenizer.get()});
  const Document d = format.document(R"({"prompt": "1+=", "response": "23"})");
  CHECK(d.tokens == Ids{0, 1, 4, 5});
  CHECK(d.weights == std::vector<float>{0, 0, 0, 1});
}

TEST_CASE("the preset alpaca writes the words that Alpaca was trained on", "[data]") {
  const MadeTokenizer made;
  MadeFormat format(cat(kSupervised, "\npreset = \"alpaca\""), {.tokenizer = &made});
  const auto text_of = [&](std::string_view record) {
    return made.decode(format.document(record).tokens, text::Special::kSkip);
  };
  CHECK_THAT(text_of(R"({"instruction": "Add.", "input": "1 2", "output": "3"})"),
             Catch::StartsWith("Below is an instruction that describes a task, paired") &&
                 Catch::EndsWith("### Instruction:\nAdd.\n\n### Input:\n1 2\n\n### Response:3"));
  CHECK_THAT(text_of(R"({"instruction": "Sing.", "input": "", "output": "La"})"),
             Catch::Contains("appropriately completes the request.\n\n### Instruction:\nSing.\n\n"
                             "### Response:La"));
}

TEST_CASE("a record without an answer is refused with its place", "[data]") {
  const MadeTokenizer made;
  MadeFormat format(kSupervised, {.tokenizer = &made});
  const std::string fault = failure_of(
      ErrorKind::kData, [&] { format.document(R"({"prompt": "ab", "answer": "cd"})", 12); });
  CHECK(fault.find("f.jsonl:12") != std::string::npos);
  CHECK(fault.find("\"response\"") != std::string::npos);
}

TEST_CASE("an EOS that the prompt ends with is not learned", "[data]") {
  const auto tokenizer = text::load_tokenizer(
      R"({"type":"hf","eos_id":2,"added":[],"tokenizer":{"model":{"type":"BPE","vocab":
          {"a":0,"b":1,"</s>":2},"merges":[]},
          "added_tokens":[{"id":2,"content":"</s>","special":true}]}})",
      "tokenizer.json");
  REQUIRE(tokenizer->eos_id() == 2);
  MadeFormat format(kSupervised, {.tokenizer = tokenizer.get()});
  Document d = format.document(R"({"prompt": "a</s>", "response": "b"})");
  CHECK(d.tokens == Ids{0, 2, 1, 2});
  CHECK(d.weights == std::vector<float>{0, 0, 1, 1});
  d = format.document(R"({"prompt": "a</s>", "response": ""})");  // the answer ends at once
  CHECK(d.tokens == Ids{0, 2, 2});
  CHECK(d.weights == std::vector<float>{0, 0, 1});
}

TEST_CASE("keys that a preset names itself can't be named", "[data]") {
  const MadeTokenizer made;
  CHECK_THROWS_WITH(MadeFormat(cat(kSupervised, "\npreset = \"alpaca\"\ninput_field = \"prompt\""),
                               {.tokenizer = &made}),
                    Catch::Contains("names the keys itself"));
}

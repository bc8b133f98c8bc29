// What a model is given where there is nothing to continue.
#include "infer/prompt.h"

#include <catch2/catch.hpp>

#include "base/strings.h"
#include "support/fault.h"

using namespace levanter;

TEST_CASE("a prompt without tokens is what a text begins with", "[infer]") {
  const auto beginning = [](const char* special) {
    const auto tokenizer = text::load_tokenizer(
        cat(R"({"type":"hf",)", special,
            R"("added":[],"tokenizer":{"added_tokens":[{"id":1,"content":"<s>","special":true},
              {"id":2,"content":"</s>","special":true}],"decoder":{"type":"Fuse"},
              "model":{"type":"BPE","vocab":{"a":0},"merges":[]}}})"),
        "tokenizer.json");
    CHECK(infer::prompt_ids(*tokenizer, "aa", "the prompt") == std::vector<int32_t>{0, 0});
    return infer::prompt_ids(*tokenizer, "", "the prompt");
  };
  CHECK(beginning(R"("bos_id":1,"eos_id":2,)") == std::vector<int32_t>{1});
  CHECK(beginning(R"("eos_id":2,)") == std::vector<int32_t>{2});
  CHECK_THAT(testing::failure_of(ErrorKind::kData, [&] { beginning(""); }),
             Catch::Contains("no BOS, no EOS and no new line"));
  const auto bytes = text::load_tokenizer(R"({"type":"bytes"})", "tokenizer.json");
  CHECK(infer::prompt_ids(*bytes, "", "the prompt") == std::vector<int32_t>{'\n'});
}

// The files of a tokenizer's folder beside its vocabulary: added and special tokens, templates.
#include <catch2/catch.hpp>

#include "base/files.h"
#include "base/strings.h"
#include "support/fault.h"
#include "support/temporary_folder.h"
#include "text/hf_support.h"

using namespace levanter;
using namespace levanter::text;
using levanter::testing::failure_of;
using levanter::testing::TemporaryFolder;

namespace {

using Ids = std::vector<int32_t>;
using Texts = std::map<std::string, std::string>;

constexpr char kModel[] =
    R"({"added_tokens":[{"id":3,"content":"<s>","special":true}],
        "model":{"type":"BPE","vocab":{"a":0,"b":1,"c":2},"merges":[]}})";

/// A folder with these files.
struct Folder {
  explicit Folder(const Texts& files) {
    for (const auto& [name, content] : files) {
      make_directories(parent_path(folder / name));
      write_file_atomic(folder / name, content);
    }
    tokenizer = hf_tokenizer(folder.path());
  }
  Ids ids(std::string_view text) const { return tokenizer->encode({text, "the text"}); }

  TemporaryFolder folder;
  std::unique_ptr<const Tokenizer> tokenizer;
};

}  // namespace

TEST_CASE("special tokens that are named without an id get the next free ones", "[text]") {
  const Folder made({{"tokenizer.json", kModel},
                     {"tokenizer_config.json",
                      R"({"bos_token": "<s>", "pad_token": "<pad>", "image_token": "<image>",
                          "unk_token": {"__type": "AddedToken", "content": "c"},
                          "additional_special_tokens": ["<tool>", "<pad>"]})"}});
  CHECK(made.tokenizer->vocab_size() == 7);
  CHECK(made.ids("a<tool>b<pad><s><image>c") == Ids{0, 6, 1, 4, 3, 5, 2});
  CHECK(made.tokenizer->decode(Ids{0, 6, 4}, Special::kSkip) == "a");
  // What is saved has them with their ids.
  const auto loaded = load_tokenizer(made.tokenizer->serialise(), "saved");
  CHECK(loaded->encode({"a<tool><pad>", "the text"}) == Ids{0, 6, 4});
  CHECK(loaded->serialise() == made.tokenizer->serialise());
}

TEST_CASE("what stands in place of a tokenizer's file is told", "[text]") {
  const auto fault_of = [](const char* name, const char* content) {
    return failure_of(ErrorKind::kData, [&] { const Folder made(Texts{{name, content}}); });
  };
  const char* kPointer = "version https://git-lfs.github.com/spec/v1\noid sha256:1\nsize 5\n";
  for (const char* name : {"tokenizer.json", "tokenizer.model"}) {
    CHECK_THAT(fault_of(name, kPointer), Catch::Contains("a Git LFS pointer") &&
                                             Catch::Contains("git lfs pull") &&
                                             Catch::Contains(name));
    CHECK_THAT(fault_of(name, "<html>"), Catch::Contains("a page of HTML"));
  }
  CHECK_THAT(fault_of("tokenizer.json", ""), Catch::Contains("the file is empty"));
}

TEST_CASE("a folder that names nothing new is what it was", "[text]") {
  const Folder made({{"tokenizer.json", kModel},
                     {"tokenizer_config.json", R"({"bos_token": "<s>", "pad_token": "<s>"})"}});
  CHECK(made.tokenizer->vocab_size() == 4);
  CHECK_THAT(made.tokenizer->identity(), Catch::Contains(R"("added":[],)"));
}

TEST_CASE("added_tokens.json tells the ids of added tokens", "[text]") {
  const Texts files = {
      {"vocab.json", R"({"H":0,"i":1,"\u0120":2,"t":3,"<|end|>":4})"},
      {"merges.txt", "#version: 0.2\n"},
      {"added_tokens.json", R"({"<|pad|>": 5, "<|user|>": 6, "<word>": 7})"},
      {"tokenizer_config.json", R"({"eos_token": "<|end|>", "pad_token": "<|pad|>"})"},
      {"special_tokens_map.json",
       R"({"eos_token": "<|end|>", "unk_token": "<|end|>", "pad_token": "<|pad|>",
           "additional_special_tokens": ["<|user|>"]})"}};
  const Folder made(files);
  CHECK(made.ids("Hi<|user|> t<|pad|><word>") == Ids{0, 1, 6, 2, 3, 5, 7});
  CHECK(made.tokenizer->vocab_size() == 8);
  CHECK(made.tokenizer->decode(Ids{0, 6, 7}, Special::kSkip) == "H<word>");
  // A list with ids in tokenizer_config.json is newer than both files.
  Texts newer = files;
  newer["tokenizer_config.json"] =
      R"({"added_tokens_decoder": {"5": {"content": "<new>", "special": true}}})";
  CHECK(Folder(newer).ids("H<new>") == Ids{0, 5});
}

TEST_CASE("templates see every special token, and none decides ids", "[text]") {
  const Folder made({{"tokenizer.json", kModel},
                     {"tokenizer_config.json",
                      R"({"bos_token": "<s>", "pad_token": "a", "unk_token": {"content": "b"},
                          "eos_token": null})"}});
  const Texts wanted = {{"bos_token", "<s>"}, {"pad_token", "a"}, {"unk_token", "b"}};
  CHECK(made.tokenizer->special_tokens() == wanted);
  const auto loaded = load_tokenizer(made.tokenizer->serialise(), "saved");
  CHECK(loaded->special_tokens() == wanted);
  CHECK(made.tokenizer->identity().find("pad_token") == std::string::npos);
}

TEST_CASE("a folder's named templates are read from its config or its files", "[text]") {
  const Folder listed({{"tokenizer.json", kModel},
                       {"tokenizer_config.json",
                        R"({"chat_template": [{"name": "default", "template": "d"},
                                              {"name": "tool_use", "template": "t"}]})"}});
  CHECK(listed.tokenizer->chat_template() == "d");
  CHECK(listed.tokenizer->named_chat_templates() == Texts{{"tool_use", "t"}});
  const auto loaded = load_tokenizer(listed.tokenizer->serialise(), "saved");
  CHECK(loaded->named_chat_templates() == Texts{{"tool_use", "t"}});
  CHECK(loaded->with_chat_template("x")->named_chat_templates().empty());

  const Folder files({{"tokenizer.json", kModel},
                      {"tokenizer_config.json", R"({"chat_template": "old"})"},
                      {"chat_template.jinja", "new"},
                      {"additional_chat_templates/tool_use.jinja", "tools"}});
  CHECK(files.tokenizer->chat_template() == "new");
  CHECK(files.tokenizer->named_chat_templates() == Texts{{"tool_use", "tools"}});
}

TEST_CASE("the blank that a tokenizer puts before a text is none of its bytes", "[text]") {
  const Folder made(Texts{{"tokenizer.json",
                           R"({"normalizer":{"type":"Sequence","normalizers":[
                          {"type":"Prepend","prepend":"\u2581"},
                          {"type":"Replace","pattern":{"String":" "},"content":"\u2581"}]},
                          "decoder":{"type":"Sequence","decoders":[
                          {"type":"Replace","pattern":{"String":"\u2581"},"content":" "},
                          {"type":"Fuse"},{"type":"Strip","content":" ","start":1,"stop":0}]},
                          "model":{"type":"BPE","vocab":{"a":0,"\u2581":1,"\u2581a":2},
                                   "merges":[["\u2581","a"]]}})"}});
  REQUIRE(made.ids("a a") == Ids{2, 2});
  CHECK(made.tokenizer->first_byte_length(2) == 1);
  CHECK(made.tokenizer->byte_length(2) == 2);
}

TEST_CASE("ids of listed tokens give their order, and the next free ones are theirs", "[text]") {
  // As in Transformers 5.24: beyond a gap, and where the id is another token's.
  for (const char* list : {R"({"9": {"content": "<new>"}, "7": {"content": "<eos>"}})",
                           R"({"3": {"content": "<eos>"}, "4": {"content": "<new>"}})"}) {
    const Folder made({{"tokenizer.json", kModel},
                       {"tokenizer_config.json",
                        cat(R"({"eos_token": "<eos>", "added_tokens_decoder": )", list, "}")}});
    CHECK(made.tokenizer->vocab_size() == 6);
    CHECK(made.ids("a<new><s><eos>") == Ids{0, 5, 3, 4});
    CHECK(made.tokenizer->eos_id() == 4);
    CHECK(made.tokenizer->decode(Ids{4, 5}, Special::kSkip) == "<new>");
    const auto loaded = load_tokenizer(made.tokenizer->serialise(), "saved");
    CHECK(loaded->encode({"a<new><s><eos>", "the text"}) == Ids{0, 5, 3, 4});
    CHECK(loaded->serialise() == made.tokenizer->serialise());
  }
  const Folder older({{"tokenizer.json", kModel},
                      {"added_tokens.json", R"({"<new>": 9, "<s>": 3, "<other>": 6})"}});
  CHECK(older.ids("<new><s><other>") == Ids{5, 3, 4});
}

TEST_CASE("the classes of Transformers that heed add_prefix_space have it", "[text]") {
  const auto ids = [](const char* tokenizer, const std::string& config, const char* text) {
    return Folder({{"tokenizer.json", tokenizer}, {"tokenizer_config.json", config}}).ids(text);
  };
  const auto config = [](const char* name, const char* space) {
    return cat(R"({"tokenizer_class": ")", name, R"(", "add_prefix_space": )", space, "}");
  };
  constexpr char kBytes[] = R"({"pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false},
    "decoder": {"type": "ByteLevel"},
    "model": {"type": "BPE", "vocab": {"a": 0, "\u0120": 1}, "merges": []}})";
  for (const char* name : {"GPT2Tokenizer", "GPT2TokenizerFast"}) {
    CHECK(ids(kBytes, config(name, "true"), "a a") == Ids{1, 0, 1, 0});
    CHECK(ids(kBytes, config(name, "false"), "a a") == Ids{0, 1, 0});
    CHECK(ids(kBytes, config(name, "null"), "a a") == Ids{0, 1, 0});
  }
  CHECK(ids(kBytes, config("PreTrainedTokenizerFast", "true"), "a a") == Ids{0, 1, 0});
  constexpr char kPieces[] = R"({"normalizer": {"type": "Sequence", "normalizers": [
      {"type": "Prepend", "prepend": "▁"},
      {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}]},
    "decoder": {"type": "Sequence", "decoders": [
      {"type": "Replace", "pattern": {"String": "▁"}, "content": " "}, {"type": "Fuse"},
      {"type": "Strip", "content": " ", "start": 1, "stop": 0}]},
    "model": {"type": "BPE", "vocab": {"a": 0, "▁": 1}, "merges": []}})";
  CHECK(ids(kPieces, config("LlamaTokenizer", "true"), "a a") == Ids{1, 0, 1, 0});
  CHECK(ids(kPieces, config("LlamaTokenizerFast", "false"), "a a") == Ids{0, 1, 0});
  const Folder bare(
      {{"tokenizer.json", kPieces}, {"tokenizer_config.json", config("LlamaTokenizer", "false")}});
  CHECK(bare.tokenizer->decode(Ids{1, 0}) == " a");
}

TEST_CASE("a tokenizer that splits its special tokens is refused", "[text]") {
  const auto made = [](const char* split) {
    return Folder({{"tokenizer.json", kModel},
                   {"tokenizer_config.json", cat(R"({"split_special_tokens": )", split, "}")}})
        .ids("<s>");
  };
  CHECK(made("false") == Ids{3});
  CHECK_THAT(failure_of(ErrorKind::kData, [&] { made("true"); }),
             Catch::Contains("split_special_tokens = true is not supported") &&
                 Catch::Contains("tokenizer_config.json"));
}

TEST_CASE("an end of texts that is a text is refused", "[text]") {
  for (const char* end : {R"("3")", R"([0, "3"])"})
    for (const char* file : {"generation_config.json", "config.json"})
      CHECK_THAT(failure_of(ErrorKind::kData,
                            [&] {
                              const Folder made({{"tokenizer.json", kModel},
                                                 {file, cat(R"({"eos_token_id": )", end, "}")}});
                            }),
                 Catch::Contains("\"eos_token_id\"") && Catch::Contains(file));
}

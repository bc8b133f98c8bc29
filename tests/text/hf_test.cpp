// Hugging Face tokenizers: ids and texts equal to the reference results of the shared data.
#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

#include "base/strings.h"
#include "base/threads.h"
#include "support/read_all.h"
#include "support/shared_data.h"
#include "text/hf_support.h"

using namespace levanter;
using namespace levanter::text;
using levanter::testing::shared_data;
using nlohmann::json;

namespace {

struct Reference {
  const char* name;
  const char* folder;
};
constexpr Reference kReferences[] = {{"gpt2", "tokenizers/gpt2"},
                                     {"qwen3", "tokenizers/qwen3"},
                                     {"mistral", "tokenizers/mistral"},
                                     {"stories260k", "models/stories260K"}};

std::string content(const std::string& name) {
  const std::string path = shared_data(name);
  return path.empty() ? "" : testing::read_all(path);
}

std::vector<json> lines(const std::string& name) {
  std::vector<json> out;
  for (const std::string& line : split(content(name), '\n'))
    if (!line.empty()) out.push_back(json::parse(line));
  return out;
}

/// Compares and counts, so that one defect does not print a thousand lines.
class Tally final {
 public:
  void check(bool right, const std::string& what) {
    ++count_;
    if (right) return;
    if (++wrong_ <= 5) UNSCOPED_INFO(what);
  }
  void finish(size_t at_least) {
    CHECK(wrong_ == 0);
    CHECK(count_ >= at_least);
  }

 private:
  size_t count_ = 0, wrong_ = 0;
};

std::string ids_text(const std::vector<int32_t>& ids) { return json(ids).dump(); }

void check_encodings(const Tokenizer& tokenizer, const std::string& file, bool add_special) {
  Tally tally;
  for (const json& line : lines(file)) {
    const std::string text = line["text"];
    std::vector<int32_t> ids = tokenizer.encode({text, "text"});
    if (add_special) ids = tokenizer.add_special(std::move(ids));
    const std::vector<int32_t> expected = line["ids"];
    tally.check(ids == expected, cat(file, " ", line.value("cat", ""), " ", quote(text), "\n got ",
                                     ids_text(ids), "\n not ", ids_text(expected)));
  }
  tally.finish(30);
}

void check_declarations(const Tokenizer& tokenizer, const std::string& file) {
  std::map<std::pair<std::string, std::string>, std::string> texts;
  for (const json& line : lines("multilingual/udhr.jsonl.gz"))
    texts[{line["lang"], line["part"]}] = line["text"];
  Tally tally;
  for (const json& line : lines(file)) {
    const std::string& text = texts.at({line["lang"], line["part"]});
    tally.check(tokenizer.encode({text, "text"}) == line["ids"].get<std::vector<int32_t>>(),
                line["lang"].get<std::string>() + " " + line["part"].get<std::string>());
  }
  tally.finish(500);
}

void check_decodings(const Tokenizer& tokenizer, const std::string& file) {
  Tally tally;
  for (const json& line : lines(file)) {
    const std::vector<int32_t> ids = line["ids"];
    const std::string all = tokenizer.decode(ids);
    const std::string skip = tokenizer.decode(ids, Special::kSkip);
    tally.check(all == line["text"].get<std::string>() &&
                    skip == line["text_skip_special"].get<std::string>(),
                cat(ids_text(ids), "\n got ", quote(all), "\n not ",
                    quote(line["text"].get<std::string>())));
  }
  tally.finish(200);
}

/// Counts and digests of the ids of whole files, of parts of one, and of every novel.
void check_large(const Tokenizer& tokenizer, const std::string& file) {
  std::map<std::string, std::string> novels;
  for (const json& line : lines("text/novels-valid.jsonl.gz")) novels[line["id"]] = line["text"];
  Tally tally;
  const auto check = [&](const std::string& name, const json& entry, std::string_view text) {
    const std::vector<int32_t> ids = tokenizer.encode({text, name});
    tally.check(ids.size() == entry["n_tokens"].get<size_t>() &&
                    digest(ids) == entry["sha256_u32le"].get<std::string>(),
                cat(name, ": ", ids.size(), " ids"));
  };
  const json expected = json::parse(content(file));
  for (const auto& [name, entry] : expected.items()) {
    if (entry.contains("docs")) {
      for (const json& novel : entry["docs"]) check(novel["id"], novel, novels.at(novel["id"]));
      continue;
    }
    // "name", "name[:90% of characters]" or "name[90% of characters:]".
    const std::string text = content(cat("text/", name.substr(0, name.find('[')), ".gz"));
    const size_t bytes = entry["bytes"];
    REQUIRE(bytes <= text.size());
    check(name, entry,
          std::string_view(text).substr(name.ends_with(":]") ? text.size() - bytes : 0, bytes));
  }
  tally.finish(35);
}

}  // namespace

TEST_CASE("hf: ids and texts equal those of every reference", "[text]") {
  for (const Reference& reference : kReferences) {
    INFO(reference.name);
    const std::string folder = shared_data(reference.folder);
    if (folder.empty()) {
      WARN("skipped: the shared data has no " << reference.folder);
      continue;
    }
    const auto tokenizer = hf_tokenizer(folder);
    const std::string tokens = cat("tokens/", reference.name, "/");
    for (const char* file : {"tricky.jsonl.gz", "emoji.jsonl.gz"})
      check_encodings(*tokenizer, tokens + file, false);
    check_encodings(*tokenizer, tokens + "add-special.jsonl.gz", true);
    check_declarations(*tokenizer, tokens + "udhr.ids.jsonl.gz");
    check_decodings(*tokenizer, tokens + "decode.jsonl.gz");
    check_large(*tokenizer, tokens + "large-texts.json");
    const std::string novel = content("text/wikitext2-test.txt.gz");
    ThreadPool pool(3);
    CHECK(tokenizer->encode_long({novel, "text"}, pool) == tokenizer->encode({novel, "text"}));
    const json code = json::parse(content(tokens + "code.ids.json.gz"));
    CHECK(tokenizer->encode({content("multilingual/code.txt"), "code"}) ==
          code["ids"].get<std::vector<int32_t>>());
  }
}

// Documents as people look at them: what is learned, not learned and cut, in colour and in
// brackets.
#include "commands/shown_document.h"

#include <catch2/catch.hpp>

#include "support/made_tokenizer.h"

using namespace levanter;
using namespace levanter::commands;
using levanter::testing::MadeTokenizer;

namespace {

/// "ask\u00e9" is not learned, "yes" is.
std::shared_ptr<const data::TokenStream> stream() {
  auto stream = std::make_shared<data::TokenStream>(258);
  const std::vector<int32_t> ids = {'a', 's', 'k', 0xc3, 0xa9, 'y', 'e', 's'};
  const std::vector<float> weights = {0, 0, 0, 0, 0, 1, 1, 1};
  stream->append(ids, weights);
  return stream;
}

data::RowSpec packed(data::TooLong too_long) {
  return {.pack = data::PackOptions{.too_long = too_long}};
}

}  // namespace

TEST_CASE("text is marked by what becomes of it", "[commands]") {
  const MadeTokenizer made;
  const ShownDocument whole = read_document(*stream(), 0, {}, 6);
  CHECK(marked_text(whole, made, Marks::kNone) == "ask\u00e9yes");
  CHECK(marked_text(whole, made, Marks::kPlain) == "\u27e6ask\u00e9\u27e7yes");
  CHECK(marked_text(whole, made, Marks::kColour) == "\033[2mask\u00e9\033[0m\033[32myes\033[0m");
  CHECK(legend(Marks::kPlain) == "learned, \u27e6not learned\u27e7, \u2702\u27e6cut off\u27e7");
  CHECK(legend(Marks::kNone).empty());

  const ShownDocument head = read_document(*stream(), 0, packed(data::TooLong::kKeepHead), 6);
  CHECK(marked_text(head, made, Marks::kPlain) == "\u27e6ask\u00e9\u27e7ye\u2702\u27e6s\u27e7");
  const ShownDocument tail = read_document(*stream(), 0, packed(data::TooLong::kKeepTail), 4);
  CHECK(marked_text(tail, made, Marks::kPlain) == "\u2702\u27e6ask\u27e7\u27e6\u00e9\u27e7yes");
  const ShownDocument dropped = read_document(*stream(), 0, packed(data::TooLong::kDrop), 4);
  CHECK(marked_text(dropped, made, Marks::kPlain) == "\u2702\u27e6ask\u00e9yes\u27e7");
  CHECK(tokens_text(head, made).starts_with("[97 \"a\"]  [115 \"s\"]"));
  CHECK(tokens_text(head, made).ends_with("121 \"y\"  101 \"e\"  {115 \"s\"}"));
}

TEST_CASE("many pieces are marked as quickly as they are long", "[commands]") {
  // As many changes as tokens, a character of two bytes torn by each second of them.
  const MadeTokenizer made;
  constexpr size_t kCount = 40'000;
  ShownDocument document;
  std::string wanted;
  for (size_t i = 0; i < kCount; ++i) {
    document.ids.insert(document.ids.end(), {'a', 0xc3, 0xa9});
    for (const Fate fate : {Fate::kLearned, Fate::kNotLearned, Fate::kLearned})
      document.fates.push_back(fate);
    wanted += "a\u00e9";
  }
  document.weights.resize(document.ids.size());
  CHECK(marked_text(document, made, Marks::kNone) == wanted);
  CHECK(marked_text(document, made, Marks::kPlain).starts_with("a"));
}

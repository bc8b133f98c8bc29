// What formats share.
#include "data/format.h"

#include <algorithm>

#include "base/strings.h"
#include "data/files/json_fields.h"

namespace levanter::data {

std::vector<int32_t> DocumentRules::whole(text::NamedText text) const {
  std::vector<int32_t> ids =
      tokenizer->add_special(pool ? tokenizer->encode_long(text, *pool) : tokenizer->encode(text));
  const std::optional<int32_t> bos = tokenizer->bos_id(), eos = tokenizer->eos_id();
  if (enforce_bos && bos) {
    const bool there = !ids.empty() && ids.front() == *bos;
    if (*enforce_bos && !there) ids.insert(ids.begin(), *bos);
    if (!*enforce_bos && there) ids.erase(ids.begin());
  }
  if (enforce_eos && eos && (ids.empty() || ids.back() != *eos)) ids.push_back(*eos);
  return ids;
}

Document DocumentRules::answered(std::string_view prompt, std::string_view answer,
                                 std::string_view origin, float prompt_weight) const {
  DocumentRules before = *this;
  before.enforce_eos = false;
  std::vector<int32_t> asked = before.whole({prompt, origin});
  const std::optional<int32_t> eos = tokenizer->eos_id();
  // What the tokenizer itself puts behind a text stands behind the answer; an EOS that the prompt
  // ends with is the prompt's.
  const bool ends = eos && tokenizer->add_special({*eos == 0 ? 1 : 0}).back() == *eos;
  if (ends && !asked.empty()) asked.pop_back();
  Document document;
  document.tokens = whole({cat(prompt, answer), origin});
  if (enforce_eos && eos && answer.empty() && document.tokens.size() == asked.size())
    document.tokens.push_back(*eos);
  document.weights.assign(document.tokens.size(), 1.0f);
  const size_t count = std::min(asked.size(), document.tokens.size());
  std::fill_n(document.weights.begin(), count, prompt_weight);
  return document;
}

void BrokenTextKey::fields(config::Fields& f) {
  f("invalid_utf8", invalid_utf8,
    "what becomes of bytes and halves of surrogate pairs that are not UTF-8: U+FFFD instead, or an "
    "error; the tokenizer bytes takes the bytes of a text as they are")
      .one_of({"replace", "refuse"});
}

BrokenText BrokenTextKey::policy() const {
  return invalid_utf8 == "refuse" ? BrokenText::kRefuse : BrokenText::kReplace;
}

namespace {

class JsonFormat final : public Format {
 public:
  using Add = std::function<void(const JsonFields&, const std::string&, std::vector<Document>&)>;
  JsonFormat(BrokenText broken, Add add) : add_(std::move(add)), fields_(broken) {}
  void add(const FormatRecord& record, std::vector<Document>& documents) override {
    fields_.parse(record.record);
    add_(fields_, record.origin(), documents);
  }
  int64_t replaced() const override { return fields_.replaced(); }

 private:
  const Add add_;
  JsonFields fields_;
};

}  // namespace

std::unique_ptr<Format> json_format(
    BrokenText broken,
    std::function<void(const JsonFields&, const std::string&, std::vector<Document>&)> add) {
  return std::make_unique<JsonFormat>(broken, std::move(add));
}

std::shared_ptr<const FormatConfig> default_format() {
  config::Choice<FormatConfig> choice;
  return {static_cast<FormatConfig*>(choice.value.release()),
          [](const FormatConfig* f) { delete f; }};
}

}  // namespace levanter::data

namespace levanter {

std::span<const config::ChoiceEntry> FormatConfig::choices() {
  static const auto kChoices = config::choices_of(data::formats::entries());
  return kChoices;
}

}  // namespace levanter

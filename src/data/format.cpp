// What formats share.
#include "data/format.h"

#include "data/json_fields.h"

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
  const std::optional<int32_t> eos = tokenizer->eos_id();
  DocumentRules before = *this;
  before.enforce_eos = false;
  Document document;
  document.tokens = before.whole({prompt, origin});
  // What the tokenizer itself puts behind a text belongs behind the answer only.
  if (eos && !document.tokens.empty() && document.tokens.back() == *eos) document.tokens.pop_back();
  document.weights.assign(document.tokens.size(), prompt_weight);
  std::vector<int32_t> ids = tokenizer->encode({answer, origin});
  if (enforce_eos && eos && (ids.empty() || ids.back() != *eos)) ids.push_back(*eos);
  document.tokens.insert(document.tokens.end(), ids.begin(), ids.end());
  document.weights.resize(document.tokens.size(), 1.0f);
  return document;
}

namespace {

class JsonFormat final : public Format {
 public:
  using Add = std::function<void(const JsonFields&, const std::string&, std::vector<Document>&)>;
  explicit JsonFormat(Add add) : add_(std::move(add)) {}
  void add(const FormatRecord& record, std::vector<Document>& documents) override {
    fields_.parse(record.record);
    add_(fields_, record.origin(), documents);
  }

 private:
  const Add add_;
  JsonFields fields_;
};

}  // namespace

std::unique_ptr<Format> json_format(
    std::function<void(const JsonFields&, const std::string&, std::vector<Document>&)> add) {
  return std::make_unique<JsonFormat>(std::move(add));
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

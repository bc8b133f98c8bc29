// What formats share.
#include "data/format.h"

namespace levanter::data {

std::vector<int32_t> DocumentRules::whole(text::NamedText text) const {
  std::vector<int32_t> ids = tokenizer->add_special(tokenizer->encode(text));
  const std::optional<int32_t> bos = tokenizer->bos_id(), eos = tokenizer->eos_id();
  if (enforce_bos && bos) {
    const bool there = !ids.empty() && ids.front() == *bos;
    if (*enforce_bos && !there) ids.insert(ids.begin(), *bos);
    if (!*enforce_bos && there) ids.erase(ids.begin());
  }
  if (enforce_eos && eos && (ids.empty() || ids.back() != *eos)) ids.push_back(*eos);
  return ids;
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

// Puts a tokenizer's own tokens around a text's ids.
#include "text/hf/post_processor.h"

namespace levanter::text::hf {
namespace {

/// The id of ["[CLS]", 101].
int32_t pair_id(const Value& value, std::string_view key) {
  const std::vector<Value>& pair = value.list(key);
  if (pair.size() != 2 || pair[1].kind != Value::Kind::kNumber)
    value.throw_wrong(key, "a list of a token and its id");
  return static_cast<int32_t>(pair[1].number);
}

}  // namespace

PostProcessor::PostProcessor(const Value& value) {
  if (!value.is_null()) add(value);
}

void PostProcessor::add(const Value& value) {
  const std::string& type = value.type();
  if (type == "Sequence") {
    for (const Value& step : value.list("processors")) add(step);
  } else if (type == "TemplateProcessing") {
    add_template(value);
  } else if (type == "BertProcessing" || type == "RobertaProcessing") {
    before_.insert(before_.begin(), pair_id(value, "cls"));
    behind_.push_back(pair_id(value, "sep"));
  } else if (type != "ByteLevel") {  // which moves offsets alone
    value.throw_unknown(
        "post-processor",
        "BertProcessing, ByteLevel, RobertaProcessing, Sequence, TemplateProcessing");
  }
}

void PostProcessor::add_template(const Value& value) {
  std::vector<int32_t> before, behind;
  bool seen = false;
  for (const Value& item : value.list("single")) {
    if (!item["Sequence"].is_null()) {
      if (seen) value.throw_wrong("single", "one sequence, with special tokens around it");
      seen = true;
      continue;
    }
    const std::string& name = item["SpecialToken"].text("id");
    const Value& token = value["special_tokens"][name];
    if (token.kind != Value::Kind::kObject)
      value.throw_wrong("special_tokens", "every special token of \"single\", with its ids");
    for (const Value& id : token.list("ids"))
      (seen ? behind : before).push_back(static_cast<int32_t>(id.number));
  }
  if (!seen) value.throw_wrong("single", "one sequence, with special tokens around it");
  before_.insert(before_.begin(), before.begin(), before.end());
  behind_.insert(behind_.end(), behind.begin(), behind.end());
}

std::vector<int32_t> PostProcessor::apply(std::vector<int32_t> ids) const {
  ids.insert(ids.begin(), before_.begin(), before_.end());
  ids.insert(ids.end(), behind_.begin(), behind_.end());
  return ids;
}

}  // namespace levanter::text::hf

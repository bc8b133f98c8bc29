// Format "supervised": a prompt and what is to follow it; only the latter is learned.
#include "base/strings.h"
#include "data/format.h"
#include "data/json_fields.h"

namespace levanter::data::formats {
namespace {

struct SupervisedConfig final : FormatConfig {
  std::string input_field = "prompt", output_field = "response", separate_with;
  bool mask_inputs = true;

  void fields(config::Fields& f) override {
    f("input_field", input_field, "the key of the prompt");
    f("output_field", output_field, "the key of what follows it");
    f("separate_with", separate_with, "text between the two, part of the prompt");
    f("mask_inputs", mask_inputs, "whether the prompt's tokens have weight 0 as targets");
  }
  bool weighted() const override { return true; }
  std::string facts() const override {
    return cat("supervised ", input_field, " -> ", output_field, ", between ", quote(separate_with),
               mask_inputs ? ", inputs masked" : "");
  }
  std::unique_ptr<Format> make(const DocumentRules& rules) const override;
};

/// The two texts are tokenised apart, so that no token lies across the border.
class SupervisedFormat final : public Format {
 public:
  SupervisedFormat(const SupervisedConfig& config, const DocumentRules& rules)
      : config_(config), rules_(rules) {}

  Document document(const FormatRecord& record) override {
    const std::string origin = record.origin();
    fields_.parse(record.record);
    const std::string prompt = cat(fields_.string(config_.input_field), config_.separate_with);
    DocumentRules before = rules_;
    before.enforce_eos = false;
    Document document;
    document.tokens = before.whole({prompt, origin});
    const text::Tokenizer& tokenizer = *rules_.tokenizer;
    // What the tokenizer itself puts behind a text belongs behind the answer only.
    if (const auto eos = tokenizer.eos_id();
        eos && !document.tokens.empty() && document.tokens.back() == *eos)
      document.tokens.pop_back();
    document.weights.assign(document.tokens.size(), config_.mask_inputs ? 0.0f : 1.0f);
    std::vector<int32_t> answer = tokenizer.encode({fields_.string(config_.output_field), origin});
    if (const auto eos = tokenizer.eos_id();
        rules_.enforce_eos && eos && (answer.empty() || answer.back() != *eos))
      answer.push_back(*eos);
    document.tokens.insert(document.tokens.end(), answer.begin(), answer.end());
    document.weights.resize(document.tokens.size(), 1.0f);
    return document;
  }

 private:
  const SupervisedConfig config_;
  const DocumentRules rules_;
  JsonFields fields_;
};

std::unique_ptr<Format> SupervisedConfig::make(const DocumentRules& rules) const {
  return std::make_unique<SupervisedFormat>(*this, rules);
}

}  // namespace

extern const FormatEntry supervised_entry;
const FormatEntry supervised_entry = {.name = "supervised",
                                      .summary = "a prompt and what is to follow it",
                                      .make_config = config::make_choice<SupervisedConfig>};

}  // namespace levanter::data::formats

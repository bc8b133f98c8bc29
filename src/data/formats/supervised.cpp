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
  std::string facts(const DocumentRules&) const override {
    return cat("supervised ", input_field, " -> ", output_field, ", between ", quote(separate_with),
               mask_inputs ? ", inputs masked" : "");
  }
  std::unique_ptr<Format> make(const DocumentRules& rules) const override {
    return json_format([config = *this, rules](const JsonFields& fields, const std::string& origin,
                                               std::vector<Document>& documents) {
      const std::string prompt = cat(fields.string(config.input_field), config.separate_with);
      documents.push_back(rules.answered(prompt, fields.string(config.output_field), origin,
                                         config.mask_inputs ? 0.0f : 1.0f));
    });
  }
};

}  // namespace

extern const FormatEntry supervised_entry;
const FormatEntry supervised_entry = {.name = "supervised",
                                      .summary = "a prompt and what is to follow it",
                                      .make_config = config::make_choice<SupervisedConfig>};

}  // namespace levanter::data::formats

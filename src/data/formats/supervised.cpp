// Format "supervised": a prompt and what is to follow it; only the latter is learned.
#include <optional>

#include "base/strings.h"
#include "data/format.h"
#include "data/json_fields.h"

namespace levanter::data::formats {
namespace {

struct SupervisedConfig final : FormatConfig {
  std::optional<std::string> preset;
  std::string input_field = "prompt", output_field = "response", separate_with;
  bool mask_inputs = true;
  BrokenTextKey broken;

  void fields(config::Fields& f) override {
    f("preset", preset,
      "records of a known shape; alpaca: instruction, input and output, within the words that "
      "Stanford's Alpaca was trained on")
        .one_of({"alpaca"});
    f("input_field", input_field, "the key of the prompt");
    f("output_field", output_field, "the key of what follows it");
    f("separate_with", separate_with, "text between the two, part of the prompt");
    f("mask_inputs", mask_inputs, "whether the prompt's tokens have weight 0 as targets");
    broken.fields(f);
  }
  bool weighted() const override { return true; }
  std::string facts(const DocumentRules&) const override {
    return cat("supervised ", preset ? *preset : cat(input_field, " -> ", output_field),
               ", between ", quote(separate_with), " in one text",
               mask_inputs ? ", inputs masked" : "");
  }
  std::unique_ptr<Format> make(const DocumentRules& rules) const override {
    return json_format(broken.policy(), [config = *this, rules](const JsonFields& fields,
                                                                const std::string& origin,
                                                                std::vector<Document>& documents) {
      const bool alpaca = config.preset == "alpaca";
      const std::string prompt =
          alpaca ? alpaca_prompt(fields) : std::string(fields.string(config.input_field));
      const std::string_view answer = fields.string(alpaca ? "output" : config.output_field);
      documents.push_back(rules.answered(cat(prompt, config.separate_with), answer, origin,
                                         config.mask_inputs ? 0.0f : 1.0f));
    });
  }

 private:
  /// As in tatsu-lab/stanford_alpaca, train.py.
  static std::string alpaca_prompt(const JsonFields& fields) {
    const std::string_view instruction = fields.string("instruction");
    const std::string_view input = fields.optional_string("input").value_or("");
    if (input.empty())
      return cat(
          "Below is an instruction that describes a task. Write a response that appropriately "
          "completes the request.\n\n### Instruction:\n",
          instruction, "\n\n### Response:");
    return cat(
        "Below is an instruction that describes a task, paired with an input that provides further "
        "context. Write a response that appropriately completes the request.\n\n"
        "### Instruction:\n",
        instruction, "\n\n### Input:\n", input, "\n\n### Response:");
  }
};

}  // namespace

extern const FormatEntry supervised_entry;
const FormatEntry supervised_entry = {.name = "supervised",
                                      .summary = "a prompt and what is to follow it",
                                      .make_config = config::make_choice<SupervisedConfig>};

}  // namespace levanter::data::formats

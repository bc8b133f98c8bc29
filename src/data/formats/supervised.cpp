// Format "supervised": a prompt and what is to follow it; only the latter is learned.
#include <optional>

#include "base/strings.h"
#include "config/problems.h"
#include "data/format.h"
#include "data/files/json_fields.h"

namespace levanter::data::formats {
namespace {

struct SupervisedConfig final : FormatConfig {
  std::optional<std::string> preset, input_field, output_field;
  std::string separate_with;
  bool mask_inputs = true;
  BrokenTextKey broken;

  void fields(config::Fields& f) override {
    f("preset", preset,
      "records of a known shape; alpaca: instruction, input and output, within the words that "
      "Stanford's Alpaca was trained on")
        .one_of({"alpaca"});
    f("input_field", input_field, "the key of the prompt; by default prompt");
    f("output_field", output_field, "the key of what follows it; by default response");
    f("separate_with", separate_with, "text between the two, part of the prompt");
    f("mask_inputs", mask_inputs, "whether the prompt's tokens have weight 0 as targets");
    broken.fields(f);
  }
  void validate(config::Problems& p) const override {
    if (preset && (input_field || output_field))
      p.add("preset", cat(p.name("preset"), " = ", quote(*preset), " names the keys itself"))
          .hint("leave out input_field and output_field, or the preset");
  }
  bool weighted() const override { return true; }
  std::string facts(const DocumentRules&) const override {
    return cat("supervised ", preset ? *preset : cat(input_key(), " -> ", output_key()),
               ", between ", quote(separate_with), " as one text",
               mask_inputs ? ", inputs masked" : "");
  }
  std::unique_ptr<Format> make(const DocumentRules& rules) const override {
    return json_format(broken.policy(), [config = *this, rules](const JsonFields& fields,
                                                                const std::string& origin,
                                                                std::vector<Document>& documents) {
      const bool alpaca = config.preset == "alpaca";
      const std::string prompt =
          alpaca ? alpaca_prompt(fields) : std::string(fields.string(config.input_key()));
      const std::string_view answer = fields.string(alpaca ? "output" : config.output_key());
      documents.push_back(rules.answered(cat(prompt, config.separate_with), answer, origin,
                                         config.mask_inputs ? 0.0f : 1.0f));
    });
  }

 private:
  std::string input_key() const { return input_field.value_or("prompt"); }
  std::string output_key() const { return output_field.value_or("response"); }
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

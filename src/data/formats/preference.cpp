// Format "preference": two answers to one prompt, of which people chose one.
#include "base/strings.h"
#include "data/chat_writer.h"
#include "data/json_fields.h"

namespace levanter::data::formats {
namespace {

struct PreferenceConfig final : FormatConfig {
  std::string prompt_field = "prompt", chosen_field = "chosen", rejected_field = "rejected";
  std::string learn = "chosen";  ///< chosen, rejected, both
  ChatKeys keys;

  void fields(config::Fields& f) override {
    f("prompt_field", prompt_field,
      "the key of what both answers follow, where a record has it: a text, or messages");
    f("chosen_field", chosen_field, "the key of the better answer: a text, or messages");
    f("rejected_field", rejected_field, "the key of the other answer");
    f("learn", learn,
      "which answers become documents; both: two documents a record, the chosen one first")
        .one_of({"chosen", "rejected", "both"});
    keys.fields(f);
  }
  bool weighted() const override { return keys.mask_user_turns; }
  std::optional<std::string> chat_template() const override { return keys.named_template(); }
  std::string facts(const DocumentRules& rules) const override {
    return cat("preference ", prompt_field, " -> ", chosen_field, " over ", rejected_field, ", ",
               learn, " learned, ", keys.facts(*rules.tokenizer));
  }
  std::unique_ptr<Format> make(const DocumentRules& rules) const override;
};

class PreferenceFormat final : public Format {
 public:
  PreferenceFormat(const PreferenceConfig& config, const DocumentRules& rules)
      : config_(config), rules_(rules) {}

  void add(const FormatRecord& record, std::vector<Document>& documents) override {
    fields_.parse(record.record);
    for (const auto& [field, name] :
         {std::pair{&config_.chosen_field, "chosen"}, {&config_.rejected_field, "rejected"}}) {
      const bool chat = fields_.json(*field).starts_with('[');
      if (config_.learn != "both" && config_.learn != name) continue;
      documents.push_back(chat ? chat_document(record, *field) : text_document(record, *field));
    }
  }

 private:
  Document text_document(const FormatRecord& record, const std::string& field) const {
    const std::string_view prompt = fields_.optional_string(config_.prompt_field).value_or("");
    Document document = rules_.answered(prompt, fields_.string(field), record.origin(), 0);
    if (!config_.weighted()) document.weights.clear();
    return document;
  }
  Document chat_document(const FormatRecord& record, const std::string& field) {
    if (!writer_) writer_.emplace(config_.keys, *rules_.tokenizer);
    std::string messages = fields_.messages(field);
    if (fields_.has(config_.prompt_field)) {
      std::string prompt = fields_.messages(config_.prompt_field);
      prompt.back() = ',';
      messages = prompt + messages.substr(1);
    }
    return writer_->write({record.origin(), messages, "", ""});
  }

  const PreferenceConfig config_;
  const DocumentRules rules_;
  std::optional<ChatWriter> writer_;  ///< made at the first chat
  JsonFields fields_;
};

std::unique_ptr<Format> PreferenceConfig::make(const DocumentRules& rules) const {
  return std::make_unique<PreferenceFormat>(*this, rules);
}

}  // namespace

extern const FormatEntry preference_entry;
const FormatEntry preference_entry = {.name = "preference",
                                      .summary = "two answers, of which one was chosen",
                                      .make_config = config::make_choice<PreferenceConfig>};

}  // namespace levanter::data::formats

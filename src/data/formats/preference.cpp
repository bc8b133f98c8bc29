// Format "preference": two answers to one prompt, of which people chose one.
#include <algorithm>

#include "base/error.h"
#include "base/strings.h"
#include "data/chat_writer.h"
#include "data/json_fields.h"

namespace levanter::data::formats {
namespace {

struct PreferenceConfig final : FormatConfig {
  std::optional<std::string> preset;
  std::string prompt_field = "prompt", chosen_field = "chosen", rejected_field = "rejected";
  std::string learn = "chosen";  ///< chosen, rejected, both
  BrokenTextKey broken;
  ChatKeys keys;

  void fields(config::Fields& f) override {
    f("preset", preset,
      "records of a known shape; ultrafeedback: a prompt, and both answers as messages that begin "
      "with it; hh: two whole dialogues as texts, \"\\n\\nHuman: ...\\n\\nAssistant: ...\"")
        .one_of({"ultrafeedback", "hh"});
    f("prompt_field", prompt_field,
      "the key of what both answers follow, where a record has it: a text, or messages");
    f("chosen_field", chosen_field,
      "the key of the better answer: a text, or messages, perhaps the prompt's among them");
    f("rejected_field", rejected_field, "the key of the other answer");
    f("learn", learn,
      "which answers become documents; both: two documents a record, the chosen one first")
        .one_of({"chosen", "rejected", "both"});
    broken.fields(f);
    keys.fields(f);
  }
  bool weighted() const override { return keys.mask_user_turns; }
  std::optional<std::string> chat_template() const override { return keys.named_template(); }
  std::string facts(const DocumentRules& rules) const override {
    return cat("preference, last answer, ", preset ? cat(*preset, " ") : "", prompt_field, " -> ",
               chosen_field, " over ", rejected_field, " in one text, ", learn, " learned, ",
               keys.facts(*rules.tokenizer));
  }
  std::unique_ptr<Format> make(const DocumentRules& rules) const override {
    // The writer is made at the first chat.
    return json_format(
        broken.policy(), [config = *this, rules, writer = std::shared_ptr<const ChatWriter>()](
                             const JsonFields& fields, const std::string& origin,
                             std::vector<Document>& documents) mutable {
          for (const auto& [field, name] :
               {std::pair{&config.chosen_field, "chosen"}, {&config.rejected_field, "rejected"}}) {
            const bool chat = fields.is_list(*field);
            if (config.learn != "both" && config.learn != name) continue;
            if (chat && !writer)
              writer = std::make_shared<ChatWriter>(config.keys, *rules.tokenizer);
            documents.push_back(chat ? writer->write({origin, config.messages(fields, *field),
                                                      fields.optional_list("tools")})
                                     : config.text_document(fields, *field, origin, rules));
            if (chat) keep_last_answer(documents.back().weights);
          }
        });
  }

 private:
  /// Of the assistant's turns all but the last belong to the prompt.
  static void keep_last_answer(std::vector<float>& weights) {
    const auto is_zero = [](float weight) { return weight == 0; };
    const auto end = std::find_if_not(weights.rbegin(), weights.rend(), is_zero);
    std::fill(std::find_if(end, weights.rend(), is_zero), weights.rend(), 0.0f);
  }
  Document text_document(const JsonFields& fields, const std::string& field,
                         const std::string& origin, const DocumentRules& rules) const {
    std::string_view answer = fields.string(field);
    std::string_view prompt;
    if (preset == "hh")
      prompt = take_dialogue(answer, field, origin);
    else
      prompt = fields.optional_string(prompt_field).value_or("");
    Document document = rules.answered(prompt, answer, origin, 0);
    if (!weighted()) document.weights.clear();
    return document;
  }
  /// What stands before the assistant's last turn of a dialogue, which becomes that turn alone.
  static std::string_view take_dialogue(std::string_view& dialogue, const std::string& field,
                                        const std::string& origin) {
    constexpr std::string_view kTurn = "\n\nAssistant:";
    const size_t turn = dialogue.rfind(kTurn);
    if (turn == dialogue.npos)
      throw Error(ErrorKind::kData,
                  cat(quote(field), " is no dialogue with a turn of the assistant"))
          .at(origin)
          .allowed("\"\\n\\nHuman: ...\\n\\nAssistant: ...\"");
    const std::string_view prompt = dialogue.substr(0, turn + kTurn.size());
    dialogue.remove_prefix(prompt.size());
    return prompt;
  }
  /// The messages of the prompt and of an answer as one list. A prompt that is a text beside them
  /// is told a second time by lists that do not begin with the assistant.
  std::string messages(const JsonFields& fields, const std::string& field) const {
    const std::string answer = fields.messages(field);
    if (!fields.has(prompt_field)) return answer;
    if (fields.is_list(prompt_field)) {
      std::string prompt = fields.messages(prompt_field);
      prompt.back() = ',';
      if (answer.starts_with(prompt)) return answer;  // which holds the prompt already
      return prompt + answer.substr(1);
    }
    constexpr std::string_view kRole = R"("role":")";  // JSON has no bare quote inside of texts
    if (!answer.substr(answer.find(kRole) + kRole.size()).starts_with("assistant")) return answer;
    return cat(R"([{"role":"user","content":)", fields.json(prompt_field), "},", answer.substr(1));
  }
};

}  // namespace

extern const FormatEntry preference_entry;
const FormatEntry preference_entry = {.name = "preference",
                                      .summary = "two answers, of which one was chosen",
                                      .make_config = config::make_choice<PreferenceConfig>};

}  // namespace levanter::data::formats

// Format "preference": two answers to one prompt, of which people chose one.
#include <algorithm>

#include "base/error.h"
#include "base/strings.h"
#include "config/problems.h"
#include "data/chat_writer.h"
#include "data/files/json_fields.h"

namespace levanter::data::formats {
namespace {

struct PreferenceConfig final : FormatConfig {
  std::optional<std::string> preset, prompt_field;
  std::string chosen_field = "chosen", rejected_field = "rejected";
  std::string learn = "chosen";  ///< chosen, rejected, both
  BrokenTextKey broken;
  ChatKeys keys;

  void fields(config::Fields& f) override {
    f("preset", preset,
      "records of a known shape; ultrafeedback: a prompt, and both answers as messages that begin "
      "with it; hh: two whole dialogues as texts, \"\\n\\nHuman: ...\\n\\nAssistant: ...\"")
        .one_of({"ultrafeedback", "hh"});
    f("prompt_field", prompt_field,
      "the key of what both answers follow, where a record has it: a text, or messages; by default "
      "prompt");
    f("chosen_field", chosen_field,
      "the key of the better answer: a text, or messages, perhaps the prompt's among them");
    f("rejected_field", rejected_field, "the key of the other answer");
    f("learn", learn,
      "which answers become documents; both: two documents a record, the chosen one first")
        .one_of({"chosen", "rejected", "both"});
    broken.fields(f);
    keys.fields(f);
  }
  void validate(config::Problems& p) const override {
    if (preset == "hh" && prompt_field)
      p.add("prompt_field", cat(p.name("prompt_field"), " is not read with preset = \"hh\""))
          .hint("leave out one of the two");
  }
  bool weighted() const override { return keys.mask_user_turns; }
  std::optional<std::string> chat_template() const override { return keys.named_template(); }
  std::string facts(const DocumentRules& rules) const override {
    return cat("preference, last answer alone, ", preset ? cat(*preset, " ") : "", prompt_key(),
               " -> ", chosen_field, " over ", rejected_field, " as one text, ", learn,
               " learned, ", keys.facts(*rules.tokenizer));
  }
  std::unique_ptr<Format> make(const DocumentRules& rules) const override {
    // The writer is made at the first chat.
    return json_format(
        broken.policy(), [config = *this, rules, writer = std::shared_ptr<const ChatWriter>()](
                             const JsonFields& fields, const std::string& origin,
                             std::vector<Document>& documents) mutable {
          for (const auto& [field, name] :
               {std::pair{&config.chosen_field, "chosen"}, {&config.rejected_field, "rejected"}}) {
            const bool chat = fields.is_chat(*field);
            if (config.learn != "both" && config.learn != name) continue;
            if (!chat) {
              documents.push_back(config.text_document(fields, *field, origin, rules));
              continue;
            }
            const ChatRecord record = config.chat_record(fields, *field, origin);
            if (!writer) writer = config.make_writer(rules, origin);
            documents.push_back(writer->write(record));
            keep_last_answer(documents.back().weights);
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
  std::string prompt_key() const { return prompt_field.value_or("prompt"); }
  /// Where there is no template to write messages by, the record that has them is named.
  std::shared_ptr<const ChatWriter> make_writer(const DocumentRules& rules,
                                                const std::string& origin) const {
    try {
      return std::make_shared<ChatWriter>(keys, *rules.tokenizer);
    } catch (Error& error) {
      throw error.at().empty() ? std::move(error).at(origin) : error;
    }
  }
  Document text_document(const JsonFields& fields, const std::string& field,
                         const std::string& origin, const DocumentRules& rules) const {
    std::string_view answer = fields.string(field);
    std::string_view prompt;
    if (preset == "hh")
      prompt = take_dialogue(answer, field, origin);
    else
      prompt = fields.optional_string(prompt_key()).value_or("");
    Document document = rules.answered(prompt, answer, origin, 0);
    if (!weighted()) document.weights.clear();
    return document;
  }
  /// What stands before the assistant's last turn of a dialogue, which becomes that turn alone:
  /// what people say after it is no answer.
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
    dialogue = dialogue.substr(0, dialogue.find("\n\nHuman:"));
    return prompt;
  }
  ChatRecord chat_record(const JsonFields& fields, const std::string& field,
                         const std::string& origin) const {
    ChatRecord record{origin, list_of(messages(fields, field)), fields.optional_list("tools")};
    if (preset == "hh")
      throw Error(ErrorKind::kData, cat(quote(field), " is a list of messages, not a dialogue"))
          .at(origin)
          .allowed("\"\\n\\nHuman: ...\\n\\nAssistant: ...\"")
          .hint("leave out preset = \"hh\"");
    if (record.messages.find(R"("weight":0)") != std::string::npos)  // compact, as no text has it
      throw Error(ErrorKind::kData, cat(quote(field), " has a message of weight 0"))
          .at(origin)
          .hint(
              "of an answer's messages the last of the assistant's is learned; leave out weights");
    return record;
  }
  /// The messages of the prompt and of an answer as one list. A prompt that is a text beside them
  /// is told a second time by lists in which a user speaks before the assistant does.
  std::vector<Message> messages(const JsonFields& fields, const std::string& field) const {
    std::vector<Message> answer = fields.messages(field);
    if (!fields.has(prompt_key())) return answer;
    if (fields.is_chat(prompt_key())) {
      std::vector<Message> prompt = fields.messages(prompt_key());
      const auto same = [](const Message& a, const Message& b) { return a.json == b.json; };
      if (answer.size() > prompt.size() &&
          std::equal(prompt.begin(), prompt.end(), answer.begin(), same))
        return answer;  // which holds the prompt already
      prompt.insert(prompt.end(), answer.begin(), answer.end());
      return prompt;
    }
    const auto first = std::find_if(answer.begin(), answer.end(), [](const Message& message) {
      return message.role != "system" && message.role != "developer";
    });
    if (first == answer.end() || first->role == "assistant")
      answer.insert(first, message_of("user", fields.string(prompt_key())));
    return answer;
  }
};

}  // namespace

extern const FormatEntry preference_entry;
const FormatEntry preference_entry = {.name = "preference",
                                      .summary = "two answers, of which one was chosen",
                                      .make_config = config::make_choice<PreferenceConfig>};

}  // namespace levanter::data::formats

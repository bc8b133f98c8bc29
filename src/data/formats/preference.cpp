// Format "preference": two answers to one prompt, of which people chose one.
#include <algorithm>
#include <iterator>

#include <nlohmann/json.hpp>

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
  std::string learn = "chosen";  ///< chosen, rejected, both, pair
  BrokenTextKey broken;
  ChatKeys keys;

  void fields(config::Fields& f) override {
    f("preset", preset,
      "records of a known shape; ultrafeedback: a prompt, and both answers as messages that begin "
      "with it; hh: two whole dialogues as texts, \"\\n\\nHuman: ...\\n\\nAssistant: ...\"")
        .one_of({"ultrafeedback", "hh"});
    f("prompt_field", prompt_field,
      "the key of what both answers follow, where a record has it: a text, or messages; by default "
      "prompt; without it what both answers begin with is the prompt");
    f("chosen_field", chosen_field,
      "the key of the better answer: a text, or messages, perhaps the prompt's among them");
    f("rejected_field", rejected_field, "the key of the other answer");
    f("learn", learn,
      "which answers become documents; both: two documents a record, the chosen one first; pair: "
      "the same two kept together, for an objective of preferences")
        .one_of({"chosen", "rejected", "both", "pair"});
    broken.fields(f);
    keys.fields(f);
  }
  void validate(config::Problems& p) const override {
    if (preset == "hh" && prompt_field)
      p.add("prompt_field", cat(p.name("prompt_field"), " is not read with preset = \"hh\""))
          .hint("leave out one of the two");
    if (pairs() && !keys.mask_user_turns)
      p.add("mask_user_turns",
            cat(p.name("mask_user_turns"), " = false, but of a pair only the answers count"),
            {"learn"})
          .allowed("true");
  }
  bool pairs() const override { return learn == "pair"; }
  bool weighted() const override { return keys.mask_user_turns; }
  std::optional<std::string> chat_template() const override { return keys.named_template(); }
  std::string facts(const DocumentRules& rules) const override {
    return cat("preference, answers behind their prompt, ", preset ? cat(*preset, " ") : "",
               prompt_key(), " -> ", chosen_field, " over ", rejected_field, " as one text, ",
               learn, " learned, ", keys.facts(*rules.tokenizer));
  }
  std::unique_ptr<Format> make(const DocumentRules& rules) const override {
    // The writer is made at the first chat.
    return json_format(
        broken.policy(), [config = *this, rules, writer = std::shared_ptr<const ChatWriter>()](
                             const JsonFields& fields, const std::string& origin,
                             std::vector<Document>& documents) mutable {
          std::vector<Document> answers;
          for (const std::string* field : {&config.chosen_field, &config.rejected_field}) {
            const bool chat = fields.is_chat(*field);
            if (config.learn == "chosen" && field != &config.chosen_field) continue;
            if (config.learn == "rejected" && field != &config.rejected_field) continue;
            if (!chat) {
              answers.push_back(config.text_document(fields, *field, origin, rules));
              continue;
            }
            const ChatRecord record = config.chat_record(fields, *field, origin);
            if (!writer) writer = config.make_writer(rules, origin);
            answers.push_back(writer->write(record));
          }
          if (config.pairs()) config.require_pair(answers, origin);
          if (config.pairs() && config.preset == "hh") config.require_one_prompt(fields, origin);
          documents.insert(documents.end(), std::make_move_iterator(answers.begin()),
                           std::make_move_iterator(answers.end()));
        });
  }

 private:
  std::string prompt_key() const { return prompt_field.value_or("prompt"); }
  /// Where there is no template to write messages by, the record that has them is named.
  std::shared_ptr<const ChatWriter> make_writer(const DocumentRules& rules,
                                                const std::string& origin) const {
    try {
      ChatKeys of_writer = keys;
      of_writer.always_masks = pairs();
      return std::make_shared<ChatWriter>(of_writer, *rules.tokenizer);
    } catch (Error& error) {
      throw error.at().empty() ? std::move(error).at(origin) : error;
    }
  }
  /// Throws where the two documents are no pair of answers that can be told apart.
  void require_pair(const std::vector<Document>& answers, const std::string& origin) const {
    for (const auto& [field, answer] :
         {std::pair{&chosen_field, &answers[0]}, {&rejected_field, &answers[1]}}) {
      const std::vector<float>& weights = answer->weights;
      if (weights.size() == 1 && weights[0] > 0)
        throw Error(
            ErrorKind::kData,
            cat(quote(*field),
                " is one token with nothing before it, and what comes first is not learned"))
            .at(origin)
            .hint("give the record a prompt, or a BOS to its tokenizer");
      if (weights.size() < 2 || *std::max_element(weights.begin() + 1, weights.end()) == 0)
        throw Error(ErrorKind::kData,
                    cat(quote(*field), " is an answer without a token, and a pair has two answers"))
            .at(origin)
            .hint("leave the record out, or set data.on_bad_record = \"skip\"");
    }
    if (answers[0].tokens != answers[1].tokens) return;
    throw Error(ErrorKind::kData, cat(quote(chosen_field), " and ", quote(rejected_field),
                                      " are the same answer, and there is nothing to prefer"))
        .at(origin)
        .hint("leave the record out, or set data.on_bad_record = \"skip\"");
  }
  /// Throws where two dialogues are not about the same prompt.
  void require_one_prompt(const JsonFields& fields, const std::string& origin) const {
    std::string_view chosen = fields.string(chosen_field), rejected = fields.string(rejected_field);
    if (take_dialogue(chosen, chosen_field, origin) ==
        take_dialogue(rejected, rejected_field, origin))
      return;
    throw Error(ErrorKind::kData, cat(quote(chosen_field), " and ", quote(rejected_field),
                                      " answer different prompts, and a pair has one"))
        .at(origin)
        .hint(
            "the prompt is all up to the last \"Assistant:\"; leave the record out, or set "
            "data.on_bad_record = \"skip\"");
  }
  Document text_document(const JsonFields& fields, const std::string& field,
                         const std::string& origin, const DocumentRules& rules) const {
    std::string_view answer = fields.string(field);
    std::string_view prompt;
    if (preset == "hh") {
      prompt = take_dialogue(answer, field, origin);
    } else if (fields.has(prompt_key())) {
      prompt = fields.string(prompt_key());
    } else {
      prompt = common_prompt(fields.string(chosen_field), fields.string(rejected_field));
      answer.remove_prefix(prompt.size());
    }
    Document document = rules.answered(prompt, answer, origin, 0);
    if (!weighted()) document.weights.clear();
    return document;
  }
  /// The prompt that two texts hold: what both begin with, less a blank at its end, and never the
  /// whole of one. As TRL's extract_prompt.
  static std::string_view common_prompt(std::string_view chosen, std::string_view rejected) {
    const size_t shorter = std::min(chosen.size(), rejected.size());
    const auto* const differ =
        std::mismatch(chosen.begin(), chosen.begin() + shorter, rejected.begin()).first;
    auto end = static_cast<size_t>(differ - chosen.begin());
    const bool differs = end < shorter;
    if (!differs && end > 0) --end;
    while (end > 0 && (static_cast<uint8_t>(chosen[end]) & 0xC0) == 0x80) --end;  // inside of one
    if (differs && end > 0 && chosen[end - 1] == ' ') --end;
    return chosen.substr(0, end);
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
    std::vector<Message> told = messages(fields, field);
    if (preset == "hh")
      throw Error(ErrorKind::kData, cat(quote(field), " is a list of messages, not a dialogue"))
          .at(origin)
          .allowed("\"\\n\\nHuman: ...\\n\\nAssistant: ...\"")
          .hint("leave out preset = \"hh\"");
    for (const Message& message : told)
      if (is_left_out(message))
        throw Error(ErrorKind::kData, cat(quote(field), " has a message of weight 0"))
            .at(origin)
            .hint(
                "of the messages behind the prompt the assistant's are learned; leave out weights");
    const size_t prompt = weighted() ? prompt_size(fields) : 0;
    for (size_t i = 0; i < prompt; ++i)
      if (told[i].role == "assistant")
        told[i].json.insert(told[i].json.size() - 1, R"(,"weight":0)");
    return {origin, list_of(told), fields.optional_list("tools")};
  }
  /// Whether a message says that it is not to be learned.
  static bool is_left_out(const Message& message) {
    return nlohmann::json::parse(message.json).value("weight", nlohmann::json()) == 0;
  }
  /// How many of an answer's messages are the prompt: those that are given as such, else those that
  /// both answers begin with, but never all of one. As TRL's extract_prompt.
  size_t prompt_size(const JsonFields& fields) const {
    if (fields.has(prompt_key()) && fields.is_chat(prompt_key()))
      return fields.messages(prompt_key()).size();
    const std::vector<Message> chosen = messages(fields, chosen_field);
    const std::vector<Message> rejected = messages(fields, rejected_field);
    const size_t most = std::min(chosen.size(), rejected.size()) - 1;
    size_t count = 0;
    while (count < most && is_same(chosen[count], rejected[count])) ++count;
    return count;
  }
  /// Whether two messages are equal, in whatever order their keys stand.
  static bool is_same(const Message& a, const Message& b) {
    return a.json == b.json || nlohmann::json::parse(a.json, nullptr, false) ==
                                   nlohmann::json::parse(b.json, nullptr, false);
  }
  /// The messages of the prompt and of an answer as one list. A prompt that is a text next to them
  /// is told a second time by lists in which a user speaks before the assistant does.
  std::vector<Message> messages(const JsonFields& fields, const std::string& field) const {
    std::vector<Message> answer = fields.messages(field);
    if (!fields.has(prompt_key())) return answer;
    if (fields.is_chat(prompt_key())) {
      std::vector<Message> prompt = fields.messages(prompt_key());
      if (answer.size() > prompt.size() &&
          std::equal(prompt.begin(), prompt.end(), answer.begin(), is_same))
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

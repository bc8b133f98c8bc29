// levanter generate: text from a checkpoint, after a prompt, none, or the standard input.
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <ctime>
#include <optional>

#include "base/error.h"
#include "base/files.h"
#include "base/strings.h"
#include "commands/command.h"
#include "commands/json_records.h"
#include "commands/loaded_model.h"
#include "compat/hf_folder.h"
#include "compat/hf_generation.h"
#include "data/chat_writer.h"
#include "data/files/json_fields.h"
#include "infer/generation.h"
#include "infer/prompt.h"
#include "text/growing_text.h"

namespace levanter::commands {

namespace {

constexpr Option kOptions[] = {
    {"checkpoint", "DIR",
     "a step folder, a run folder for its latest good one, or a Hugging Face folder", true},
    {"adapter", "[NAME=]DIR",
     "a PEFT folder (adapter_config.json, adapter_model.safetensors) beside the model; with --json "
     "several, each with a name, which a line chooses by {\"adapter\": \"NAME\"}",
     false, false, true},
    {"prompt", "TEXT", "what to continue; without it the standard input, if it is a file or a pipe",
     false, true},
    {"temperature", "X", "0: always the most probable token; default 1"},
    {"top-k", "K", "draw among the K most probable tokens"},
    {"top-p", "P", "draw among the most probable tokens that reach probability P"},
    {"min-p", "P", "draw among tokens at least P times as probable as the most probable one"},
    {"repetition-penalty", "X",
     "divides the logits of tokens that came before; above 1: fewer again"},
    {"samples", "N", "texts for each prompt, each of its own draws; default 1"},
    {"seed", "N", "of the draws; the same seed gives the same text; default 0"},
    {"max-new-tokens", "N", "default 200"},
    {"stop", "TEXT", "end before this text; may be given several times", false, false, true},
    {"stop-id", "ID",
     "end at this token too; those of generation_config.json, else of config.json, else the "
     "tokenizer's EOS, always end a text"},
    {"batch", "N", "texts continued at the same time, 1 to 16, with the same results; default 1"},
    {"chat", "", "the prompt is what a user says: the model's chat template is put around it"},
    {"chat-template", "FILE", "with --chat: another template, such as for a model that has none"},
    {"json", "",
     "read {\"prompt\": ...} lines (with --chat also {\"messages\": [...]} and "
     "{\"chat_template_kwargs\": {...}}), print "
     "{\"prompt_ids\", "
     "\"ids\", \"text\"} lines"},
    {"logprobs", "",
     "with --json: the logarithm of each new token's probability, before any filter"},
};

/// The adapters of the command line.
/// error  kConfig for several of which one has no name, or another's
std::vector<AdapterFolder> adapters_of(const Arguments& a) {
  const std::vector<std::string> said = a.all("adapter");
  std::vector<AdapterFolder> adapters;
  for (const std::string& word : said) {
    const size_t sign = word.find('=');
    const bool is_alone = said.size() == 1 && (sign == word.npos || path_exists(word));
    if (is_alone) return {{word}};
    const std::string name = word.substr(0, sign == word.npos ? 0 : sign);
    if (sign + 1 == word.size() || name.find('/') != name.npos)
      throw Error(ErrorKind::kConfig, "the value of --adapter names no folder")
          .at(cat("--adapter ", word))
          .allowed("DIR, or NAME=DIR with a name that has no \"/\"");
    const bool is_known =
        std::any_of(adapters.begin(), adapters.end(),
                    [&](const AdapterFolder& adapter) { return adapter.name == name; });
    std::string fault;
    if (name.empty())
      fault = cat("--adapter ", quote(word), " has no name");
    else if (is_known)
      fault = cat("--adapter: two are called ", quote(name));
    if (!fault.empty())
      throw Error(ErrorKind::kConfig, fault)
          .at(cat("--adapter ", word))
          .allowed("NAME=DIR, each with a name of its own");
    adapters.push_back({word.substr(sign + 1), name});
  }
  if (!adapters.empty() && (!a.has("json") || a.values.contains("prompt")))
    throw Error(ErrorKind::kConfig, "--adapter: no line of --json chooses among adapters by name")
        .at(cat("--adapter ", said.front()))
        .allowed("--adapter DIR, for all texts")
        .hint(
            "with --json lines {\"prompt\": \"...\", \"adapter\": \"NAME\"} come by the standard "
            "input");
  return adapters;
}

/// All of the standard input, when it is a file or a pipe, without a byte order mark.
std::string read_stdin() {
  struct stat info {};
  if (fstat(STDIN_FILENO, &info) != 0 || !(S_ISREG(info.st_mode) || S_ISFIFO(info.st_mode)))
    return "";
  std::string text;
  char buffer[4096];
  for (size_t n; (n = std::fread(buffer, 1, sizeof buffer, stdin)) > 0;) text.append(buffer, n);
  return std::string(without_mark(text, 1));
}

infer::GenerateOptions options_of(const Arguments& a, const text::Tokenizer& tokenizer) {
  infer::GenerateOptions o;
  o.sampling.temperature = a.number("temperature", 1, 0, 1e6);
  o.sampling.top_k = a.integer("top-k", 0, 0, 1 << 30);
  o.sampling.top_p = a.number("top-p", 1, 0, 1);
  o.sampling.min_p = a.number("min-p", 0, 0, 1);
  o.sampling.repetition_penalty = a.number("repetition-penalty", 1, 1e-6, 1e6);
  o.max_new_tokens = a.integer("max-new-tokens", 200, 0, int64_t{1} << 40);
  if (a.values.contains("stop-id"))
    o.stop_ids.push_back(static_cast<int32_t>(a.integer("stop-id", 0, 0, INT32_MAX)));
  for (const int32_t id : tokenizer.end_ids()) o.stop_ids.push_back(id);
  o.vocab_size = tokenizer.vocab_size();
  o.rows = a.integer("batch", 1, 1, 16);
  o.logprobs = a.has("logprobs");
  return o;
}

/// The next line of the standard input, without its end; false when there is none.
bool read_line(std::string& line) {
  line.clear();
  int c = 0;
  while ((c = std::getc(stdin)) != EOF && c != '\n') line += static_cast<char>(c);
  return c != EOF || !line.empty();
}

/// What writes conversations by the model's own template, which is told today's date.
data::ChatWriter chat_writer(const text::Tokenizer& tokenizer, const std::string& file) {
  if (file.empty() && !tokenizer.chat_template())
    throw Error(ErrorKind::kData, "the model has no chat template")
        .hint(
            "name one with --chat-template FILE; without --chat the prompt is a text to continue");
  const std::time_t now = std::time(nullptr);
  char today[sizeof "2024-07-26"];
  std::strftime(today, sizeof today, "%Y-%m-%d", std::gmtime(&now));
  data::ChatKeys keys;
  keys.mask_user_turns = false;
  keys.date = today;
  if (!file.empty()) keys.chat_template = config::Path{file, absolute_path(file)};
  return {keys, tokenizer};
}

class Generator {
 public:
  Generator(LoadedModel& m, const std::vector<AdapterFolder>& adapters, const Arguments& a)
      : m_(m),
        options_(options_of(a, *m.tokenizer)),
        key_(fold_in(key_from_seed(static_cast<uint64_t>(a.integer("seed", 0, 0, INT64_MAX))),
                     "generate")),
        samples_(a.integer("samples", 1, 1, 1 << 20)),
        json_(a.has("json")),
        stops_(a.all("stop")) {
    for (const AdapterFolder& adapter : adapters)
      if (!adapter.name.empty()) names_.push_back(adapter.name);
    const std::vector<std::string>& kept = m.config.stop_strings;
    stops_.insert(stops_.end(), kept.begin(), kept.end());
    if (options_.logprobs && !json_)
      throw Error(ErrorKind::kConfig, "--logprobs has no place in a plain text").allowed("--json");
    const std::string file = a.text("chat-template");
    if (!file.empty() && !a.has("chat"))
      throw Error(ErrorKind::kConfig, "--chat-template has no place in a plain text")
          .allowed("--chat");
    if (a.has("chat")) chat_.emplace(chat_writer(*m.tokenizer, file));
  }

  /// `variables` of the chat template: a JSON object, "" for none.
  std::vector<int32_t> prompt_ids(const std::string& prompt, const std::string& place,
                                  const std::string& variables = "") const {
    std::vector<int32_t> ids;
    if (chat_)
      ids = chat_
                ->write({place, cat(R"([{"role":"user","content":)", text_json(prompt), "}]"), "",
                         variables, true})
                .tokens;
    else
      ids = infer::prompt_ids(*m_.tokenizer, prompt, place);
    if (ids.empty()) ids = infer::beginning_ids(*m_.tokenizer, place);
    require_rows(m_, ids, place);
    return ids;
  }

  /// Of a record of JSON.
  std::vector<int32_t> request_ids(const data::JsonFields& request,
                                   const std::string& place) const {
    const bool chat = request.has("messages");
    const std::string variables = chat_ ? request.optional_object("chat_template_kwargs") : "";
    if (chat_ && chat) {
      std::vector<int32_t> ids = chat_
                                     ->write({place, data::list_of(request.messages("messages")),
                                              request.optional_list("tools"), variables, true})
                                     .tokens;
      require_rows(m_, ids, place);
      return ids.empty() ? infer::beginning_ids(*m_.tokenizer, place) : ids;
    }
    if (request.has("prompt"))
      return prompt_ids(std::string(request.string("prompt")), place, variables);
    throw Error(ErrorKind::kData, chat_ ? "a line is no object with a \"prompt\" or \"messages\""
                                        : "a line is no object with a \"prompt\"")
        .at(place)
        .allowed(chat_ ? "{\"prompt\": \"...\"}, {\"messages\": [...]}" : "{\"prompt\": \"...\"}")
        .hint(chat && !chat_ ? "messages are for --chat" : "");
  }

  /// The number of the adapter that a record chooses; -1 for none.
  int32_t adapter_of(const data::JsonFields& request, const std::string& place) const {
    const auto name = request.optional_string("adapter");
    if (!name) return -1;
    if (names_.empty())
      throw Error(ErrorKind::kData, cat("the line is for the adapter ", quote(std::string(*name)),
                                        ", and none has a name"))
          .at(place)
          .allowed("--adapter NAME=DIR");
    const auto found = std::find(names_.begin(), names_.end(), *name);
    if (found != names_.end()) return static_cast<int32_t>(found - names_.begin());
    throw Error(ErrorKind::kData, cat("there is no adapter ", quote(std::string(*name))))
        .at(place)
        .allowed(join(names_, ", "))
        .hint("leave the key out for the model alone");
  }

  /// What is to be answered: a prompt, or a line that stands in its answer's place.
  struct Request {
    std::vector<int32_t> prompt = {};
    int32_t adapter = -1;      ///< as of infer::Continuation
    std::string members = {};  ///< of the record, which go into the answer
    std::string line = {};
  };

  /// Continues the prompts and prints the answers in their order. A plain text that is the only one
  /// appears as it grows; plain ones begin with `echo`.
  void answer(const std::vector<Request>& requests, const std::string& echo = "") {
    std::vector<infer::Continuation> texts;
    std::vector<text::GrowingText> grown;
    for (const Request& request : requests)
      for (int64_t sample = 0; request.line.empty() && sample < samples_; ++sample) {
        texts.push_back(
            {request.prompt, fold_in(key_, static_cast<uint32_t>(sample)), request.adapter});
        grown.emplace_back(*m_.tokenizer, stops_, request.prompt.back());
      }
    const bool streams = !json_ && texts.size() == 1;
    size_t shown = 0;
    if (streams) print(echo);
    options_.on_token = [&](size_t i, const infer::Continuation& text) {
      if (!streams && stops_.empty()) return true;
      const bool goes_on = grown[i].update(text.ids);
      if (!streams) return goes_on;
      if (grown[i].settled().size() > shown) print(grown[i].settled().substr(shown));
      shown = std::max(shown, grown[i].settled().size());
      return goes_on;
    };
    infer::generate(*m_.model, texts, options_);
    size_t i = 0;
    for (const Request& request : requests) {
      if (!request.line.empty()) print(request.line);
      for (int64_t sample = 0; request.line.empty() && sample < samples_; ++sample, ++i) {
        if (!streams && stops_.empty()) grown[i].update(texts[i].ids);
        const std::string& text = grown[i].text();
        if (json_)
          print(line_of(request, texts[i], by_itself(text, texts[i]), sample));
        else
          print(cat(streams ? "" : echo, text.substr(streams ? std::min(shown, text.size()) : 0),
                    "\n"));
      }
    }
  }

  /// Answers lines as they come, as many at a time as there are rows.
  void answer_lines() {
    std::string line;
    int64_t number = 0;
    BadRecords bad;
    data::JsonFields fields;
    for (bool more = true; more;) {
      std::vector<Request> requests;
      while (static_cast<int64_t>(requests.size()) < options_.rows && (more = read_line(line))) {
        ++number;
        if (trim(line).empty()) continue;
        Request request;
        try {
          const data::Record record{without_mark(line, number), "standard input", number};
          fields.parse(record);
          request.members =
              other_members(record.content, {"prompt", "messages", "prompt_ids", "ids", "text",
                                             "logprobs", "sample", "error", "line"});
          request.prompt = request_ids(fields, record.origin());
          request.adapter = adapter_of(fields, record.origin());
        } catch (const Error& error) {
          request.line = bad.add(error, number, request.members);
        }
        requests.push_back(std::move(request));
      }
      if (!requests.empty()) answer(requests);
    }
    note_replaced(fields.replaced());
    bad.finish();
  }

 private:
  /// A text as its ids decode when nothing is before them: some tokenizers leave out the space that
  /// a whole text begins with.
  std::string by_itself(const std::string& text, const infer::Continuation& c) const {
    const bool spaced = text.starts_with(' ') && !m_.tokenizer->decode(c.ids).starts_with(' ');
    return text.substr(spaced ? 1 : 0);
  }

  std::string line_of(const Request& request, const infer::Continuation& c, const std::string& text,
                      int64_t sample) const {
    std::string line =
        cat("{", request.members, "\"prompt_ids\": ", list_json<int32_t>(c.prompt),
            ", \"ids\": ", list_json<int32_t>(c.ids), ", \"text\": ", text_json(text));
    if (options_.logprobs) line += cat(", \"logprobs\": ", list_json<float>(c.logprobs));
    if (samples_ > 1) line += cat(", \"sample\": ", sample);
    return line + "}\n";
  }

  LoadedModel& m_;
  infer::GenerateOptions options_;
  Key key_;
  int64_t samples_;
  bool json_;
  std::vector<std::string> names_;  ///< of adapters that a line may choose
  std::vector<std::string> stops_;
  std::optional<data::ChatWriter> chat_;
};

/// Tells what else a Hugging Face folder wants done as it generates, and what is not done.
void note_settings(const Arguments& a, LoadedModel& m) {
  if (!compat::is_hf_folder(m.folder)) return;
  std::string line = compat::unapplied_settings(
      m.folder, a.values.contains("repetition-penalty") ? "repetition_penalty" : "");
  if (!line.empty()) m.problems.push_back(std::move(line));
}

int run(const Arguments& a) {
  const std::vector<AdapterFolder> adapters = adapters_of(a);
  LoadedModel m = load_model(a.text("checkpoint"), "", a.overrides, {.adapters = adapters});
  Generator generator(m, adapters, a);
  note_settings(a, m);
  for (const std::string& problem : m.problems) std::fprintf(stderr, "%s\n", problem.c_str());
  if (a.has("json") && !a.values.contains("prompt")) {
    generator.answer_lines();
    return 0;
  }
  const std::string prompt = a.values.contains("prompt") ? a.text("prompt") : read_stdin();
  generator.answer({{generator.prompt_ids(prompt, "the prompt")}}, a.has("chat") ? "" : prompt);
  return 0;
}

}  // namespace

extern const CommandEntry generate_entry;
const CommandEntry generate_entry = {"generate", "text from a checkpoint", "", 0, kOptions, true,
                                     run};

}  // namespace levanter::commands

// levanter cache: makes the token caches of a configuration, checks them, and shows what is in
// them.
#include <algorithm>

#include "base/error.h"
#include "base/strings.h"
#include "commands/progress.h"
#include "commands/command.h"
#include "train/setup.h"

namespace levanter::commands {

namespace {

constexpr Option kBuildOptions[] = {
    {"config", "FILE", "the run's configuration; it names data.cache_dir", true},
    {"json", "", "print one JSON object a line"},
};
constexpr Option kInspectOptions[] = {
    {"config", "FILE", "the run's configuration", true},
    {"component", "NAME", "of which component; default: all"},
    {"split", "train|validation", "of which split; default: train"},
    {"from", "N", "the first document, counted from 1; default 1"},
    {"documents", "N", "how many; default 3"},
    {"json", "", "print one JSON object a line"},
};

struct Shown {
  std::vector<int32_t> ids;
  std::vector<float> weights;
};

Shown read(const data::TokenStream& stream, int64_t document) {
  const int64_t begin = stream.document_start(document);
  const auto size = static_cast<size_t>(stream.document_start(document + 1) - begin);
  Shown shown{std::vector<int32_t>(size), std::vector<float>(size)};
  stream.read(begin, shown.ids);
  stream.read_weights(begin, shown.weights);
  return shown;
}

/// The tokens one by one, what does not count as a target between brackets.
std::string tokens_text(const Shown& shown, const text::Tokenizer& tokenizer) {
  std::string text;
  for (size_t i = 0; i < shown.ids.size(); ++i) {
    const std::string token =
        cat(shown.ids[i], " ", text_json(tokenizer.decode(std::span(&shown.ids[i], 1))));
    text += cat(i == 0 ? "" : "  ", shown.weights[i] == 0 ? cat("[", token, "]") : token);
  }
  return text;
}

void show(const Arguments& a, const std::string& name, const data::TokenStream& stream,
          const text::Tokenizer& tokenizer) {
  const int64_t first = a.integer("from", 1, 1, int64_t{1} << 60) - 1;
  const int64_t end =
      std::min(stream.num_documents(), first + a.integer("documents", 3, 1, 1 << 20));
  for (int64_t d = first; d < end; ++d) {
    const Shown shown = read(stream, d);
    const std::string text = tokenizer.decode(shown.ids);
    if (a.has("json")) {
      print(cat("{\"component\": ", quote(name), ", \"document\": ", d + 1,
                ", \"ids\": ", list_json<int32_t>(shown.ids), ", \"loss_weights\": ",
                list_json<float>(shown.weights), ", \"text\": ", text_json(text), "}\n"));
    } else {
      print(cat(name, ", document ", d + 1, " of ", format_count(stream.num_documents()), ", ",
                count_of(static_cast<int64_t>(shown.ids.size()), "token"), "\n", text, "\n",
                tokens_text(shown, tokenizer), "\n\n"));
    }
  }
}

int inspect(const Arguments& a) {
  const TrainConfig config = load_train_config(a.text("config"), a.overrides);
  const auto data = train::load_data(config, nullptr, cache_progress());
  const std::string wanted = a.text("component"), split = a.text("split", "train");
  if (split != "train" && split != "validation")
    throw Error(ErrorKind::kConfig, cat("there is no split ", quote(split)))
        .at(cat("--split ", split))
        .allowed("train, validation");
  bool any = false;
  std::vector<std::string> names;
  for (const data::ComponentStreams* streams : data->components()) {
    names.push_back(streams->name);
    if (!wanted.empty() && streams->name != wanted) continue;
    any = true;
    show(a, cat(streams->name, "/", split),
         split == "train" ? *streams->train : *streams->validation, *data->tokenizer());
  }
  if (!any)
    throw Error(ErrorKind::kConfig, cat("there is no component ", quote(wanted)))
        .at(cat("--component ", wanted))
        .allowed(join(names, ", "));
  return 0;
}

int build(const Arguments& a) {
  const TrainConfig config = load_train_config(a.text("config"), a.overrides);
  if (!config.data.cache_dir)
    throw Error(ErrorKind::kConfig, "the configuration names no folder for token caches")
        .at(config.where("data.cache_dir"))
        .hint("set data.cache_dir, in the file or as --data.cache_dir=DIR");
  const auto data = train::load_data(config, nullptr, cache_progress());
  for (const data::ComponentStreams* streams : data->components()) {
    const int64_t documents = streams->train->num_documents(), tokens = streams->train->size();
    const int64_t held = streams->validation->size();
    if (a.has("json"))
      print(cat("{\"component\": ", quote(streams->name), ", \"train_documents\": ", documents,
                ", \"train_tokens\": ", tokens,
                ", \"validation_documents\": ", streams->validation->num_documents(),
                ", \"validation_tokens\": ", held, ", \"ok\": true}\n"));
    else
      print(cat(streams->name, ": ", count_of(tokens, "token"), " in ",
                count_of(documents, "document"), " to train on, ", format_count(held),
                " to validate on; checksums are right\n"));
  }
  return 0;
}

constexpr CommandEntry kCommands[] = {
    {"inspect", "show documents as tokens and text", "", 0, kInspectOptions, true, inspect}};

}  // namespace

extern const CommandEntry cache_entry;
const CommandEntry cache_entry = {"cache",       "make and check token caches; show documents",
                                  "[inspect]",   0,
                                  kBuildOptions, true,
                                  build,         kCommands};

}  // namespace levanter::commands

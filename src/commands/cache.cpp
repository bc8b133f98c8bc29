// levanter cache: makes the token caches of a configuration, checks them, and shows what is in
// them.
#include <algorithm>

#include "base/error.h"
#include "base/strings.h"
#include "commands/progress.h"
#include "commands/command.h"
#include "commands/ranks/by_ranks.h"
#include "commands/shown_document.h"
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
    {"tokens", "", "the tokens too, each with its id"},
    {"json", "", "print one JSON object a line"},
};

/// What is shown of a stream, and how.
struct Shown {
  int64_t first, count;
  bool json, tokens;
  int64_t seq_len;
};

void show(const Shown& what, const std::string& name, const data::TokenStream& stream,
          const data::RowSpec& rows, const text::Tokenizer& tokenizer) {
  const int64_t end = std::min(stream.num_documents(), what.first + what.count);
  bool any_marks = stream.weighted();
  for (int64_t d = what.first; d < end; ++d) {
    const ShownDocument shown = read_document(stream, d, rows, what.seq_len);
    any_marks = any_marks || shown.fates.back() == Fate::kCut || shown.fates[0] == Fate::kCut;
    const Marks marks = any_marks ? marks_of_output() : Marks::kNone;
    if (what.json) {
      print(cat("{\"component\": ", quote(name), ", \"document\": ", d + 1,
                ", \"ids\": ", list_json<int32_t>(shown.ids),
                ", \"loss_weights\": ", list_json<float>(shown.weights),
                ", \"text\": ", text_json(tokenizer.decode(shown.ids)), "}\n"));
      continue;
    }
    const std::string meaning = legend(marks);
    print(cat(name, ", document ", d + 1, " of ", format_count(stream.num_documents()), ", ",
              count_of(static_cast<int64_t>(shown.ids.size()), "token"),
              meaning.empty() ? "" : cat(" (", meaning, ")"), "\n",
              marked_text(shown, tokenizer, marks), "\n",
              what.tokens ? cat(tokens_text(shown, tokenizer), "\n") : "", "\n"));
  }
}

int inspect(const Arguments& a) {
  const TrainConfig config = load_train_config(a.text("config"), a.overrides);
  const auto data = train::load_data(config, nullptr, cache_progress());
  const Shown what{a.integer("from", 1, 1, int64_t{1} << 60) - 1,
                   a.integer("documents", 3, 1, 1 << 20), a.has("json"), a.has("tokens"),
                   config.model->max_seq_len};
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
    show(what, cat(streams->name, "/", split),
         split == "train" ? *streams->train : *streams->validation, streams->rows,
         *data->tokenizer());
  }
  if (!any)
    throw Error(ErrorKind::kConfig, cat("there is no component ", quote(wanted)))
        .at(cat("--component ", wanted))
        .allowed(join(names, ", "));
  return 0;
}

void require_cache_dir(const TrainConfig& config) {
  if (!config.data.cache_dir)
    throw Error(ErrorKind::kConfig, "the configuration names no folder for token caches")
        .at(config.where("data.cache_dir"))
        .hint("set data.cache_dir, in the file or as --data.cache_dir=DIR");
}

void tell(const data::TextData& data, bool json) {
  for (const data::ComponentStreams* streams : data.components()) {
    const int64_t documents = streams->train->num_documents(), tokens = streams->train->size();
    const int64_t held = streams->validation->size();
    if (json)
      print(cat("{\"component\": ", quote(streams->name), ", \"train_documents\": ", documents,
                ", \"train_tokens\": ", tokens,
                ", \"validation_documents\": ", streams->validation->num_documents(),
                ", \"validation_tokens\": ", held, ", \"ok\": true}\n"));
    else
      print(cat(streams->name, ": ", count_of(tokens, "token"), " in ",
                count_of(documents, "document"), " to train on, ", format_count(held),
                " to validate on; checksums are right\n"));
  }
}

int build(const Arguments& a) {
  const dist::Launched launched = dist::read_launched();
  if (launched.ranks == 1) {
    const TrainConfig config = load_train_config(a.text("config"), a.overrides);
    require_cache_dir(config);
    tell(*train::load_data(config, nullptr, cache_progress()), a.has("json"));
    return 0;
  }
  try {
    return run_by_ranks(
        a, launched, {}, [&](const TrainConfig& config, dist::Communicator& communicator) {
          dist::together(communicator, [&] { require_cache_dir(config); });
          const auto data = train::load_data_together(config, communicator, cache_progress());
          if (data) tell(*data, a.has("json"));
          return 0;
        });
  } catch (const dist::Abandoned& elsewhere) {
    return static_cast<int>(elsewhere.kind());  // the rank that it happened to says why
  }
}

constexpr CommandEntry kCommands[] = {{"inspect",
                                       "show documents as text, and what of it is learned", "", 0,
                                       kInspectOptions, true, inspect}};

}  // namespace

extern const CommandEntry cache_entry;
const CommandEntry cache_entry = {"cache",       "make and check token caches; show documents",
                                  "[inspect]",   0,
                                  kBuildOptions, true,
                                  build,         kCommands,
                                  "do",          true};

}  // namespace levanter::commands

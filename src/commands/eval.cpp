// levanter eval: validation losses of a checkpoint, or the probabilities of documents' tokens.
#include <cmath>
#include <cstdio>

#include "base/error.h"
#include "base/strings.h"
#include "commands/command.h"
#include "commands/json_records.h"
#include "commands/loaded_model.h"
#include "commands/progress.h"
#include "data/files/json_fields.h"
#include "data/files/source.h"
#include "infer/scoring.h"
#include "models/objective.h"
#include "train/data_record.h"
#include "train/evaluate.h"
#include "train/setup.h"

namespace levanter::commands {

namespace {

constexpr Option kOptions[] = {
    {"checkpoint", "DIR",
     "a step folder, a run folder for its latest good one, or a Hugging Face folder", true},
    {"adapter", "DIR",
     "a PEFT folder (adapter_config.json, adapter_model.safetensors) beside the model"},
    {"config", "FILE", "the data to evaluate on; default: the checkpoint's own configuration"},
    {"json", "", "print one JSON object"},
    {"batch", "N", "rows computed at the same time, with the same results; default: a microbatch"},
    {"documents", "FILE",
     "no losses, but a line of JSON for each document: the log-probability of each token; lines "
     "{\"text\": ...}, a text, or - for the standard input"},
    {"stride", "N",
     "tokens that each further window over a long document scores; default max_seq_len", false,
     false, false, "documents"},
};

constexpr size_t kMostWaiting = 4096;  ///< answers, bad records' among them

class DocumentScores {
 public:
  DocumentScores(LoadedModel& m, const Arguments& a)
      : m_(m), stride_(a.integer("stride", m.model->max_seq_len(), 1, m.model->max_seq_len())) {}

  /// Reads, scores and prints as many documents at a time as fill a batch.
  void print_all(const std::string& path) {
    try {
      read_all(path);
    } catch (const Error&) {  // what comes before damage is scored first
      print_some();
      throw;
    }
    print_some();
    note_replaced(fields_.replaced());
    bad_.finish();
  }

 private:
  void read_all(const std::string& path) {
    data::RecordReader reader(path);
    int64_t tokens = 0;
    while (const auto record = reader.next()) {
      tokens += add(*record, reader.form());
      const bool waits = tokens < m_.rows * m_.model->max_seq_len() && !documents_.empty();
      if (waits && answers_.size() < kMostWaiting) continue;
      print_some();
      tokens = 0;
    }
  }

  /// What is printed for a record: a line that stands already, or else the next document's scores.
  struct Answer {
    std::string members, line;
    size_t bytes = 0;
  };

  /// The tokens to score of a record.
  int64_t add(const data::Record& record, data::RecordForm form) {
    Answer answer;
    int64_t tokens = 0;
    try {
      std::string_view text = record.content;
      if (form != data::RecordForm::kText) {
        fields_.parse(record);
        answer.members = other_members(
            record.content, {"text", "ids", "logprobs", "logprob", "bytes", "error", "line"});
        if (!fields_.has("text"))
          throw Error(ErrorKind::kData, "a document is no object with a \"text\"")
              .at(record.origin())
              .allowed("{\"text\": \"...\"}");
        text = fields_.string("text");
      }
      std::vector<int32_t> ids =
          m_.tokenizer->add_special(m_.tokenizer->encode({text, record.origin()}));
      require_rows(m_, ids, record.origin());
      documents_.push_back({std::move(ids)});
      answer.bytes = text.size();
      tokens = static_cast<int64_t>(documents_.back().ids.size());
    } catch (const Error& error) {
      answer.line = bad_.add(error, record.line, answer.members);
    }
    answers_.push_back(std::move(answer));
    return tokens;
  }

  void print_some() {
    infer::score(*m_.model, documents_, m_.rows, stride_);
    size_t scored = 0;
    for (const Answer& answer : answers_) {
      if (!answer.line.empty()) {
        print(answer.line);
        continue;
      }
      const infer::Document& document = documents_[scored++];
      double sum = 0;
      std::string logprobs = document.ids.empty() ? "" : "null";  // nothing is before the first
      for (const float x : document.logprobs) {
        sum += x;
        logprobs += cat(", ", json_number(x));
      }
      print(cat("{", answer.members, "\"ids\": ", list_json<int32_t>(document.ids),
                ", \"logprobs\": [", logprobs, "], \"logprob\": ", json_number(sum),
                ", \"bytes\": ", answer.bytes, "}\n"));
    }
    documents_.clear();
    answers_.clear();
  }

  LoadedModel& m_;
  int64_t stride_;
  std::vector<infer::Document> documents_;
  std::vector<Answer> answers_;
  data::JsonFields fields_;
  BadRecords bad_;
};

std::vector<AdapterFolder> adapters_of(const Arguments& a) {
  if (!a.values.contains("adapter")) return {};
  return {{a.text("adapter")}};
}

int run(const Arguments& a) {
  LoadedModel m =
      load_model(a.text("checkpoint"), a.text("config"), a.overrides,
                 {.rows = a.integer("batch", 0, 1, 1 << 20), .adapters = adapters_of(a)});
  for (const std::string& problem : m.problems) std::fprintf(stderr, "%s\n", problem.c_str());
  require_memory(m);
  if (a.values.contains("documents")) {
    DocumentScores(m, a).print_all(a.text("documents"));
    return 0;
  }
  const auto data = train::load_data(m.config, m.tokenizer, {}, train::DataPart::kHeldOut);
  if (const std::string changes = train::changed_data(m.extra_json, *data);
      !changes.empty() && !a.values.contains("config"))
    std::fprintf(stderr, "the data are not those that the run was trained with: %s\n",
                 changes.c_str());
  train::EvaluationOptions options;
  options.batch = m.rows;
  options.seq_len = m.config.model->max_seq_len;
  options.progress = phase_progress();
  options.vocab_size = m.vocab_size;
  if (m.config.trainer.max_eval_batches)
    options.max_rows = *m.config.trainer.max_eval_batches * m.config.trainer.train_batch_size;
  const auto objective = m.config.objective->make({});
  options.measures_pairs = objective->pair_loss() != nullptr;
  if (!m.config.objective->needs_reference()) options.pair_loss = objective->pair_loss();
  const Metrics metrics = train::evaluate(
      *data, [&](const infer::Rows& rows) { return m.model->token_losses(rows); }, options);
  if (metrics.empty())
    throw Error(ErrorKind::kData, "there is no validation text")
        .at(m.config.where("data.components"))
        .hint("set validation or validation_fraction of a component");
  std::string json, table;
  for (const auto& [name, value] : metrics) {
    if (!std::isfinite(value))
      throw Error(ErrorKind::kCheckpoint, cat(name, " is not finite"))
          .at(m.folder)
          .hint("numbers of the model overflow on these texts");
    json += cat(json.empty() ? "" : ", ", quote(name), ": ", json_number(value));
    table += cat(name, std::string(name.size() < 24 ? 24 - name.size() : 1, ' '),
                 format_fixed(value, 4), "\n");
  }
  print(a.has("json") ? cat("{\"step\": ", m.step, ", ", json, "}\n") : cat(m.folder, "\n", table));
  return 0;
}

}  // namespace

extern const CommandEntry eval_entry;
const CommandEntry eval_entry = {
    "eval",   "validation losses of a checkpoint, or the probabilities of documents",
    "",       0,
    kOptions, true,
    run};

}  // namespace levanter::commands

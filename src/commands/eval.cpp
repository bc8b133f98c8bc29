// levanter eval: validation losses of a checkpoint.
#include <cstdio>

#include "base/error.h"
#include "base/strings.h"
#include "commands/command.h"
#include "commands/loaded_model.h"
#include "train/evaluate.h"
#include "train/setup.h"

namespace levanter::commands {

namespace {

constexpr Option kOptions[] = {
    {"checkpoint", "DIR",
     "a step folder, a run folder for its latest good one, or a Hugging Face folder", true},
    {"config", "FILE", "the data to evaluate on; default: the checkpoint's own configuration"},
    {"json", "", "print one JSON object"},
};

int run(const Arguments& a) {
  LoadedModel m = load_model(a.text("checkpoint"), a.text("config"), a.overrides);
  for (const std::string& problem : m.problems) std::fprintf(stderr, "%s\n", problem.c_str());
  const auto data = train::load_data(m.config, m.tokenizer);
  train::EvaluationOptions options;
  options.batch = m.config.microbatch_size();
  options.seq_len = m.config.model->max_seq_len;
  if (m.config.trainer.max_eval_batches)
    options.max_rows = *m.config.trainer.max_eval_batches * m.config.trainer.train_batch_size;
  const Metrics metrics = train::evaluate(
      *data, [&](const infer::Rows& rows) { return m.model->token_losses(rows); }, options);
  if (metrics.empty())
    throw Error(ErrorKind::kData, "there is no validation text")
        .at(m.config.where("data.components"))
        .hint("set validation or validation_fraction of a component");
  std::string json, table;
  for (const auto& [name, value] : metrics) {
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
    "eval", "validation losses of a checkpoint, bits per byte", "", 0, kOptions, true, run};

}  // namespace levanter::commands

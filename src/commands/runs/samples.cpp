// What the models of a run's checkpoints write.
#include "commands/runs/samples.h"

#include <algorithm>
#include <vector>

#include "base/error.h"
#include "base/files.h"
#include "base/strings.h"
#include "checkpoint/folder.h"
#include "commands/command.h"
#include "commands/loaded_model.h"
#include "infer/generation.h"
#include "infer/prompt.h"
#include "report/run_data.h"
#include "text/growing_text.h"

namespace levanter::commands {

namespace {

using report::Sample;

/// What the model adds to a prompt; where that has no tokens, to the beginning of a text.
std::string continued(LoadedModel& m, const std::string& prompt, int64_t tokens) {
  std::vector<int32_t> ids = infer::prompt_ids(*m.tokenizer, prompt, "the prompt");
  require_rows(m, ids, "the prompt");
  infer::GenerateOptions options;
  options.max_new_tokens = tokens;
  options.stop_ids = m.tokenizer->end_ids();
  options.vocab_size = m.tokenizer->vocab_size();
  std::vector<infer::Continuation> texts;
  texts.push_back({std::move(ids), key_from_seed(0)});
  infer::generate(*m.model, texts, options);
  text::GrowingText text(*m.tokenizer, {}, texts[0].prompt.back());
  text.update(texts[0].ids);
  return text.text();
}

std::string lines_of(const std::vector<Sample>& samples) {
  std::string lines;
  for (const Sample& s : samples)
    lines += cat("{\"step\": ", s.step, ", \"prompt\": ", text_json(s.prompt),
                 ", \"text\": ", text_json(s.text), "}\n");
  return lines;
}

}  // namespace

void take_samples(const std::string& run_folder, std::span<const std::string> prompts,
                  int64_t tokens) {
  const std::string checkpoints = join_path(run_folder, "checkpoints");
  const std::vector<int64_t> steps = list_checkpoints(checkpoints);
  if (steps.empty())
    throw Error(ErrorKind::kCheckpoint, cat("no checkpoint is in ", checkpoints))
        .hint("samples are of the models that a run has saved");
  std::vector<Sample> taken;
  for (const int64_t step : steps) {
    LoadedModel m = load_model(step_folder(checkpoints, step), "", {}, {.rows = 1});
    for (const std::string& prompt : prompts)
      taken.push_back({step, prompt, continued(m, prompt, tokens)});
  }
  // What other reports have written in the meantime stays.
  const std::string path = join_path(run_folder, report::kReportSamplesFile);
  std::vector<Sample> samples = report::read_samples(path);
  for (Sample& sample : taken) {
    std::erase_if(samples, [&](const Sample& s) {
      return s.step == sample.step && s.prompt == sample.prompt;
    });
    samples.push_back(std::move(sample));
  }
  std::stable_sort(samples.begin(), samples.end(),
                   [](const Sample& a, const Sample& b) { return a.step < b.step; });
  write_file_atomic(path, lines_of(samples));
}

}  // namespace levanter::commands

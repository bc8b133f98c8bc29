// levanter export: a Hugging Face folder from a checkpoint, or from another such folder.
#include <cstdio>
#include <optional>

#include "base/strings.h"
#include "commands/command.h"
#include "commands/loaded_model.h"
#include "commands/progress.h"
#include "train/hf/export.h"

namespace levanter::commands {

namespace {

constexpr Option kOptions[] = {
    {"checkpoint", "DIR",
     "a step folder, a run folder for its latest good one, or a Hugging Face folder", true},
    {"out", "DIR", "the Hugging Face folder to be made", true},
    {"dtype", "TYPE",
     "f32, bf16 or f16; default: f32, or what each tensor of a Hugging Face folder is"},
    {"max-shard-size", "BYTES", "the longest file of weights, as 512M or 5GB; default 5GB"},
    {"merge", "", "of a checkpoint of an adapter: the whole model, the adapter merged into it"},
    {"adapter", "", "of such a checkpoint: a PEFT folder of the adapter alone"},
    {"ema", "", "the running mean of the weights that optimizer.ema keeps, instead of them"},
    {"overwrite", "", "replace a Hugging Face folder that is there already"},
};

/// Throws where a checkpoint of an adapter is exported without a word of how, or another with one.
void require_form(const Arguments& a, bool is_adapter) {
  const int64_t said = a.has("merge") + a.has("adapter");
  if (said == (is_adapter ? 1 : 0)) return;
  if (said == 2)
    throw Error(ErrorKind::kConfig, "--merge and --adapter are two forms of an export")
        .at(a.text("checkpoint"))
        .hint("leave one of them out");
  throw Error(ErrorKind::kConfig, is_adapter ? "the checkpoint holds an adapter and no model"
                                             : "the checkpoint holds a whole model and no adapter")
      .at(a.text("checkpoint"))
      .allowed(is_adapter ? "--merge for the whole model, or --adapter for a PEFT folder" : "")
      .hint(is_adapter ? "" : "leave --merge and --adapter out");
}

/// The model of a checkpoint whose adapter is merged into it.
train::HfSource merged_source(const LoadedModel& loaded) {
  loaded.model->merge();
  TrainConfig config = loaded.config;
  config.adapter.reset();
  return train::hf_source(
      print_config(config), loaded.tokenizer,
      train::tensors_of(loaded.model->params(), loaded.model->tensors(), false));
}

/// The merged matrices are not rounded.
const std::vector<std::string> kWide = {"--trainer.frozen=f32", "--trainer.mp=f32"};

int run(const Arguments& a) {
  train::HfOptions options;
  if (a.values.contains("dtype")) options.dtype = train::hf_dtype(a.text("dtype"));
  options.max_shard_bytes = parse_bytes(a.text("max-shard-size", "5GB"), "max-shard-size");
  options.overwrite = a.has("overwrite");
  options.progress = phase_progress();
  std::vector<std::string> problems;
  train::HfSource source = train::hf_source(a.text("checkpoint"), problems, a.has("ema"));
  require_form(a, source.adapter.has_value());
  std::optional<LoadedModel> merged;  // outlives the source
  if (a.has("merge")) {
    source = merged_source(merged.emplace(
        load_model(a.text("checkpoint"), "", kWide, {.rows = 1, .ema = a.has("ema")})));
    problems = merged->problems;
  }
  for (const std::string& problem : problems) std::fprintf(stderr, "%s\n", problem.c_str());
  const train::HfReport report = train::export_hf(source, a.text("out"), options);
  print(cat(a.text("out"), ": ", count_of(report.tensors, "tensor"), ", ",
            format_bytes(report.weights.bytes), " in ", count_of(report.weights.files, "file"),
            "\n"));
  if (!report.tokenizer)
    std::fprintf(stderr, "note: no tokenizer was written: the model's has no Hugging Face form\n");
  return 0;
}

}  // namespace

extern const CommandEntry export_entry;
const CommandEntry export_entry = {
    "export", "a Hugging Face folder from a checkpoint", "", 0, kOptions, false, run};

}  // namespace levanter::commands

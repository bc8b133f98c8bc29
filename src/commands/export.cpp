// levanter export: a Hugging Face folder from a checkpoint, or from another such folder.
#include <cstdio>

#include "base/strings.h"
#include "commands/command.h"
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
    {"ema", "", "the running mean of the weights that optimizer.ema keeps, instead of them"},
    {"overwrite", "", "replace a Hugging Face folder that is there already"},
};

int run(const Arguments& a) {
  train::HfOptions options;
  if (a.values.contains("dtype")) options.dtype = train::hf_dtype(a.text("dtype"));
  options.max_shard_bytes = parse_bytes(a.text("max-shard-size", "5GB"), "max-shard-size");
  options.overwrite = a.has("overwrite");
  std::vector<std::string> problems;
  const train::HfSource source = train::hf_source(a.text("checkpoint"), problems, a.has("ema"));
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

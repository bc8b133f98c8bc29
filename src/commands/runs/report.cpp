// levanter report: a page on a run, on several beside each other, or on the tokens of documents.
#include "report/page.h"

#include "base/error.h"
#include "base/files.h"
#include "base/strings.h"
#include "commands/command.h"
#include "commands/runs/samples.h"
#include "commands/runs/token_page.h"

namespace levanter::commands {

namespace {

constexpr int kMostRuns = 1000;

constexpr Option kOptions[] = {
    {"out", "FILE",
     "where to write the page; default: report.html or logprobs.html, in the run's folder where it "
     "is one, else here"},
    {"sample", "PROMPT",
     "the model of each checkpoint that a run has continues it; the page shows what came, and "
     "report_samples.jsonl keeps it",
     false, true, true},
    {"sample-tokens", "N", "how far; default 100", false, false, false, "sample"},
    {"logprobs", "FILE",
     "no charts, but documents as RUN's model sees them, each token by its probability; lines "
     "{\"text\": ...}, a text, or - for the standard input"},
    {"tokens", "N", "of each document at most; default 4,096", false, false, false, "logprobs"},
};

/// Where the page goes that `--out` does not name.
std::string default_out(const Arguments& a, std::string_view name) {
  const std::string file(name);
  return a.words.size() == 1 && report::is_run(a.words[0]) ? join_path(a.words[0], file) : file;
}

int run(const Arguments& a) {
  if (a.words.empty())
    throw Error(ErrorKind::kConfig, "levanter report names no run")
        .allowed("levanter report RUN [RUN ...], such as logs/char");
  std::string page, out;
  if (a.values.contains("logprobs")) {
    if (a.words.size() > 1)
      throw Error(ErrorKind::kConfig, "--logprobs is about one run's model")
          .allowed("levanter report RUN --logprobs FILE");
    page = token_page(a.words[0], a.text("logprobs"), a.integer("tokens", 4096, 1, 1 << 20));
    out = a.text("out", default_out(a, "logprobs.html"));
  } else {
    std::vector<report::RunData> runs;
    for (const std::string& folder : a.words) {
      if (const std::vector<std::string> prompts = a.all("sample"); !prompts.empty())
        take_samples(folder, prompts, a.integer("sample-tokens", 100, 1, 1 << 16));
      runs.push_back(report::read_run(folder));
    }
    page = report::make_page(runs);
    out = a.text("out", default_out(a, report::kReportFile));
  }
  write_file_atomic(out, page);
  print(out + "\n");
  return 0;
}

}  // namespace

extern const CommandEntry report_entry;
const CommandEntry report_entry = {
    "report", "a page on runs: losses, speed, memory, what made them; or on a text's tokens",
    "RUN...", kMostRuns,
    kOptions, false,
    run};

}  // namespace levanter::commands

// What lies in a run's folder, as a plain struct: what reports, tables and comparisons are made of.
#pragma once

#include <compare>
#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "report/buckets.h"
#include "report/history.h"

namespace levanter::report {

/// Names and texts, in their order.
using Texts = std::vector<std::pair<std::string, std::string>>;

/// The text of that name, or null.
const std::string* find_text(const Texts& texts, std::string_view name);

/// Text that the run's model wrote at a step.
struct Sample {
  int64_t step = 0;
  std::string prompt, text;

  auto operator<=>(const Sample&) const = default;
};

/// What the run itself has written, and what reports had its checkpoints write.
inline constexpr std::string_view kSamplesFile = "samples.jsonl",
                                  kReportSamplesFile = "report_samples.jsonl";

/// What a line of a table says of a run.
struct RunLine {
  std::string folder, id;    ///< the id is the folder's name
  std::string state;         ///< running, finished, stopped, failed, killed; "" where nothing tells
  int64_t step = 0;          ///< the last that was logged
  int64_t total_steps = 0;   ///< trainer.num_train_steps; 0 where nothing tells
  double loss = kNone;       ///< the last train/loss
  double best_loss = kNone;  ///< the lowest eval/loss
  int64_t best_step = -1;
  double tokens_per_second = kNone;  ///< the median of the last steps
  std::string started, ended;        ///< of the last start
  Texts config;                      ///< every key of config.toml, its value as TOML

  static constexpr double kNone = std::numeric_limits<double>::quiet_NaN();
};

/// All that a report says of a run.
struct RunData {
  RunLine line;
  History history;
  Spike spike;
  Texts summary;                ///< of summary.json
  std::vector<Texts> starts;    ///< of run.json, what is inside of something by "environment.NAME"
  std::vector<Sample> samples;  ///< by step
  std::string plan;             ///< plan.json, or "" where there is none
  std::vector<std::string> notes;  ///< what is missing, or was left out
};

/// Whether a folder is a run's: it has a config.toml, run.json or metrics.jsonl.
bool is_run(const std::string& folder);

/// Reads no more of the metrics than it must. What is missing or broken leaves its fields empty.
RunLine read_line(const std::string& folder);

/// Those in one such file; none where there is none.
/// error  kIo where it cannot be read
std::vector<Sample> read_samples(const std::string& path);

/// error  kData where the folder is no run's
RunData read_run(const std::string& folder);

/// The keys of config.toml, or of another such file.
/// error  kConfig for a file that is no TOML
Texts read_config(const std::string& path);

/// The keys in which configs differ, in the order of their first appearance, without those in which
/// any two runs do: trainer.id and trainer.log_dir.
std::vector<std::string> keys_that_differ(std::span<const Texts* const> configs);

/// A TOML text as people read it: a string without its quotation marks.
std::string plain_text(std::string_view toml);

}  // namespace levanter::report

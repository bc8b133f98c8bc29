// Where two runs part.
#include "report/compare.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstring>
#include <set>

#include "axes/dtype.h"
#include "base/error.h"
#include "base/files.h"
#include "base/strings.h"
#include "checkpoint/folder.h"
#include "checkpoint/load.h"
#include "checkpoint/manifest.h"

namespace levanter::report {

namespace {

constexpr std::string_view kAbsent = "-";

/// Of a start's record, what a run's bits may depend on.
bool is_provenance(std::string_view name) {
  for (const std::string_view exact :
       {"version", "revision", "dirty", "compiler", "instruction_set", "device", "numerics"})
    if (name == exact) return true;
  return name.starts_with("libraries.") || name.starts_with("data.");
}

/// Metrics that tell how fast a run was, and differ between any two, or how much is left of it.
bool is_speed(std::string_view metric) {
  if (metric == "throughput/total_tokens") return false;
  return metric.starts_with("throughput/") || metric.ends_with("_time") || metric == "run_progress";
}

std::string text_or_absent(const Texts& texts, std::string_view name) {
  const std::string* text = find_text(texts, name);
  return text ? plain_text(*text) : std::string(kAbsent);
}

std::vector<Apart> apart(const Texts& a, const Texts& b) {
  const Texts* both[] = {&a, &b};
  std::vector<Apart> out;
  for (const std::string& key : keys_that_differ(both))
    out.push_back({key, text_or_absent(a, key), text_or_absent(b, key)});
  return out;
}

Texts provenance_of(const RunData& run) {
  Texts out;
  if (run.starts.empty()) return out;
  for (const auto& [name, text] : run.starts.back())
    if (is_provenance(name)) out.emplace_back(name, text);
  return out;
}

bool same(double a, double b) { return a == b || (std::isnan(a) && std::isnan(b)); }

std::string value_text(double value) { return std::isnan(value) ? "no number" : cat(value); }

/// The first step that both series have and at which they differ; -1 for none.
int64_t first_difference(const Series& a, const Series& b) {
  for (size_t i = 0, j = 0; i < a.steps.size() && j < b.steps.size();) {
    if (a.steps[i] < b.steps[j]) {
      ++i;
    } else if (b.steps[j] < a.steps[i]) {
      ++j;
    } else {
      if (!same(a.values[i], b.values[j])) return a.steps[i];
      ++i;
      ++j;
    }
  }
  return -1;
}

double value_at(const Series& series, int64_t step) {
  const auto at = std::lower_bound(series.steps.begin(), series.steps.end(), step);
  return series.values[static_cast<size_t>(at - series.steps.begin())];
}

FirstStep compare_metrics(const History& a, const History& b) {
  FirstStep first;
  for (const Series& series : a.series) {
    const Series* other = b.find(series.name);
    if (!other || is_speed(series.name)) continue;
    const int64_t step = first_difference(series, *other);
    if (step < 0 || (first.step >= 0 && step > first.step)) continue;
    if (step != first.step) first = {step, {}};
    first.metrics.push_back(
        {series.name, value_text(value_at(series, step)), value_text(value_at(*other, step))});
  }
  return first;
}

/// A checkpoint as it stands on the disk, unchecked.
Checkpoint open_unchecked(const std::string& folder) {
  const std::string path = join_path(folder, kManifestFile);
  Manifest manifest = Manifest::parse(read_file(path), path);
  std::set<std::string> names = {std::string(kConfigFile), std::string(kTokenizerFile)};
  for (const auto& [name, tensor] : manifest.tensors)
    for (const SliceRecord& slice : tensor.slices) names.insert(slice.file);
  Checkpoint::Files files;
  for (const std::string& name : names) files.emplace(name, InputFile(join_path(folder, name)));
  return Checkpoint(folder, std::move(manifest), std::move(files));
}

std::string shape_text(const TensorRecord& tensor) {
  std::vector<std::string> sizes;
  for (const int64_t n : tensor.shape) sizes.push_back(cat(n));
  return cat(name_of(tensor.dtype), " [", join(sizes, ", "), "]");
}

std::string element_text(DType dtype, const std::byte* element) {
  if (dtype == DType::f32 || dtype == DType::f64) {
    float single = 0;
    double value = 0;
    if (dtype == DType::f64) std::memcpy(&value, element, sizeof value);
    if (dtype == DType::f32) {
      std::memcpy(&single, element, sizeof single);
      char text[40];
      return {text, std::to_chars(text, text + sizeof text, single).ptr};
    }
    return cat(value);
  }
  std::string text = "0x";
  for (auto i = static_cast<int64_t>(size_of(dtype)); i-- > 0;) {
    constexpr std::string_view kDigits = "0123456789abcdef";
    const auto byte = static_cast<unsigned>(element[i]);
    text += kDigits[byte >> 4];
    text += kDigits[byte & 15];
  }
  return text;
}

std::vector<int64_t> index_of(int64_t element, const std::vector<int64_t>& shape) {
  std::vector<int64_t> index(shape.size());
  for (size_t i = shape.size(); i-- > 0; element /= std::max<int64_t>(shape[i], 1))
    index[i] = element % std::max<int64_t>(shape[i], 1);
  return index;
}

/// How a tensor of two checkpoints differs, if it does.
std::optional<FirstTensor> compare_tensor(const std::string& name, const Checkpoint& a,
                                          const Checkpoint& b) {
  const TensorRecord &left = a.tensor(name), &right = b.tensor(name);
  FirstTensor out{.step = a.step(), .name = name, .elements = left.elements()};
  if (left.dtype != right.dtype || left.shape != right.shape) {
    out.a = shape_text(left);
    out.b = shape_text(right);
    return out;
  }
  std::vector<std::byte> x(static_cast<size_t>(left.bytes())), y(x.size());
  a.load_tensor(name, x);
  b.load_tensor(name, y);
  const auto size = static_cast<size_t>(size_of(left.dtype));
  for (size_t at = 0; at < x.size(); at += size) {
    if (std::memcmp(&x[at], &y[at], size) == 0) continue;
    if (out.differing++ > 0) continue;
    out.index = index_of(static_cast<int64_t>(at / size), left.shape);
    out.a = element_text(left.dtype, &x[at]);
    out.b = element_text(left.dtype, &y[at]);
  }
  return out.differing > 0 ? std::optional(out) : std::nullopt;
}

void note_damage(const std::string& folder, std::vector<std::string>& notes) {
  const VerifyReport report = verify_checkpoint(folder);
  for (const std::string& problem : report.problems) notes.push_back(problem);
}

/// Compares what both hold: the model's tensors first, each by its name.
std::optional<FirstTensor> compare_checkpoints(const std::string& left, const std::string& right,
                                               Comparison& out) {
  const auto alone = [&](const std::string& folder, const std::string& name) {
    out.notes.push_back(cat(folder, " alone has the tensor ", name));
    out.is_partial = true;
  };
  const Checkpoint a = open_unchecked(left), b = open_unchecked(right);
  for (const bool model : {true, false})
    for (const auto& [name, tensor] : a.manifest().tensors) {
      if (tensor.in_model() != model) continue;
      if (!b.has(name)) {
        alone(left, name);
        continue;
      }
      if (auto difference = compare_tensor(name, a, b)) {
        note_damage(left, out.notes);
        note_damage(right, out.notes);
        return difference;
      }
    }
  for (const auto& [name, tensor] : b.manifest().tensors)
    if (!a.has(name)) alone(right, name);
  return std::nullopt;
}

bool is_checkpoint(const std::string& folder) {
  return path_exists(join_path(folder, kManifestFile));
}

void note_lengths(const RunData& a, const RunData& b, Comparison& out) {
  for (const RunData* run : {&a, &b})
    for (const std::string& note : run->notes)
      out.notes.push_back(cat(run->line.folder, ": ", note));
  if (a.history.last_step == b.history.last_step) return;
  out.notes.push_back(cat(a.line.folder, " has metrics to step ", a.history.last_step, ", ",
                          b.line.folder, " to step ", b.history.last_step));
  out.is_partial = true;
}

/// The first tensor of the first checkpoint that both runs have and in which they differ.
void compare_run_checkpoints(const std::string& left, const std::string& right, Comparison& out) {
  const std::vector<int64_t> steps = list_checkpoints(left), others = list_checkpoints(right);
  bool any = false;
  for (const int64_t step : steps) {
    if (std::find(others.begin(), others.end(), step) == others.end()) continue;
    any = true;
    try {
      out.tensor = compare_checkpoints(step_folder(left, step), step_folder(right, step), out);
    } catch (const Error& error) {
      out.notes.push_back(cat("checkpoints of step ", step, ": ", error.message()));
      out.is_partial = true;
    }
    if (out.tensor) return;
  }
  if (any || (steps.empty() && others.empty())) return;
  out.notes.emplace_back("there is no step of which both have a checkpoint");
  out.is_partial = true;
}

}  // namespace

Comparison compare(const std::string& a, const std::string& b) {
  Comparison out;
  if (is_checkpoint(a) && is_checkpoint(b)) {
    out.keys =
        apart(read_config(join_path(a, kConfigFile)), read_config(join_path(b, kConfigFile)));
    out.tensor = compare_checkpoints(a, b, out);
    return out;
  }
  const RunData left = read_run(a), right = read_run(b);
  out.keys = apart(left.line.config, right.line.config);
  out.provenance = apart(provenance_of(left), provenance_of(right));
  out.first_step = compare_metrics(left.history, right.history);
  note_lengths(left, right, out);
  compare_run_checkpoints(join_path(a, "checkpoints"), join_path(b, "checkpoints"), out);
  return out;
}

}  // namespace levanter::report

// Finding, checking and reading checkpoints.
#include "checkpoint/load.h"

#include <algorithm>
#include <cstring>
#include <set>
#include <utility>

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/files.h"
#include "base/hash.h"
#include "base/strings.h"
#include "checkpoint/checkpoint.h"
#include "checkpoint/folder.h"
#include "device/transfer.h"
#include "optim/optimizer.h"

namespace levanter {

namespace {

constexpr std::string_view kBestName = "best";
constexpr size_t kReadBytes = size_t{1} << 20;

std::string shape_text(DType dtype, std::span<const int64_t> shape) {
  std::vector<std::string> sizes;
  for (const int64_t n : shape) sizes.push_back(cat(n));
  return cat(name_of(dtype), "[", join(sizes, ", "), "]");
}

std::string content_of(const InputFile& file) {
  std::string text(static_cast<size_t>(file.size()), '\0');
  file.read(0, std::as_writable_bytes(std::span(text)));
  return text;
}

/// Opens all files of a checkpoint before any is read, so that removing them disturbs no reader.
/// Those that can't be opened are problems.
Checkpoint::Files open_files(const std::string& folder, const Manifest& manifest,
                             std::vector<std::string>& problems) {
  std::set<std::string> names = {std::string(kConfigFile), std::string(kTokenizerFile)};
  for (const auto& [name, record] : manifest.files) names.insert(name);
  for (const auto& [path, tensor] : manifest.tensors)
    for (const SliceRecord& slice : tensor.slices) names.insert(slice.file);
  Checkpoint::Files files;
  for (const std::string& name : names) {
    try {
      files.emplace(name, InputFile(join_path(folder, name)));
    } catch (const Error& error) {
      problems.push_back(error.message());
    }
  }
  return files;
}

/// Collects what is wrong with the files of a checkpoint.
class FileCheck {
 public:
  explicit FileCheck(const Checkpoint::Files& files) : files_(files) {}

  void check(const std::string& name, const FileRecord& record) {
    const auto file = files_.find(name);
    if (file == files_.end()) return;
    if (file->second.size() != record.bytes) {
      problems.push_back(
          cat(name, " has ", file->second.size(), " bytes instead of ", record.bytes));
      bad_.push_back(name);
    } else if (hash(file->second, 0, record.hashed) != record.xxh3) {
      problems.push_back(cat(name, " does not match its checksum"));
    }
  }

  void check(const std::string& path, const SliceRecord& slice) {
    const auto file = files_.find(slice.file);
    if (file == files_.end() || std::find(bad_.begin(), bad_.end(), slice.file) != bad_.end())
      return;
    const int64_t size = file->second.size();
    if (slice.offset > size || slice.bytes > size - slice.offset) {
      problems.push_back(cat(slice.file, " is too short for tensor ", path));
    } else if (hash(file->second, slice.offset, slice.bytes) != slice.xxh3) {
      problems.push_back(cat(slice.file, ": tensor ", path, " does not match its checksum"));
    }
  }

  std::vector<std::string> problems;

 private:
  uint64_t hash(const InputFile& file, int64_t offset, int64_t bytes) {
    hasher_.reset();
    buffer_.resize(kReadBytes);
    while (bytes > 0) {
      const std::span piece(buffer_.data(), std::min(static_cast<size_t>(bytes), kReadBytes));
      file.read(offset, piece);
      hasher_.update(piece);
      offset += static_cast<int64_t>(piece.size());
      bytes -= static_cast<int64_t>(piece.size());
    }
    return hasher_.value64();
  }

  const Checkpoint::Files& files_;
  std::vector<std::string> bad_;
  std::vector<std::byte> buffer_;
  Hasher hasher_{Hasher::Width::k64};
};

/// What came of reading a checkpoint.
struct Reading {
  std::optional<Checkpoint> checkpoint = {};
  std::vector<std::string> problems = {};  ///< everything that is wrong with it
  bool begun = false;                      ///< it had a manifest
  bool gone = false;  ///< removed, or replaced by another save of its step: neither good nor bad
};

/// Whether a file that could not be opened is gone, or has come since.
bool missing_or_new(const std::string& path) {
  try {
    const InputFile now(path);
    return true;
  } catch (const Error&) {
    return !path_exists(path);
  }
}

/// Reads a checkpoint. Its manifest goes first when it is removed, so one that stays in its place
/// says that the checkpoint was there all the time.
Reading try_read(const std::string& folder) {
  Reading reading;
  const std::string manifest_path = join_path(folder, kManifestFile);
  std::optional<InputFile> opened;
  try {
    const InputFile& file = opened.emplace(manifest_path);
    Manifest manifest = Manifest::parse(content_of(file), manifest_path);
    Checkpoint::Files files = open_files(folder, manifest, reading.problems);
    FileCheck check(files);
    for (const auto& [name, record] : manifest.files) check.check(name, record);
    for (const auto& [path, tensor] : manifest.tensors)
      for (const SliceRecord& slice : tensor.slices) check.check(path, slice);
    if (step_of(file_name(folder)).value_or(manifest.step) != manifest.step)
      check.problems.push_back(cat("its manifest is of step ", manifest.step));
    for (std::string& problem : check.problems) reading.problems.push_back(std::move(problem));
    if (reading.problems.empty())
      reading.checkpoint.emplace(folder, std::move(manifest), std::move(files));
  } catch (const Error& error) {
    reading.problems.push_back(error.message());
  }
  reading.begun = opened.has_value();
  if (!reading.checkpoint)
    reading.gone = opened ? !opened->in_place() : missing_or_new(manifest_path);
  return reading;
}

/// As often as a checkpoint may vanish under a reader before the reader gives up.
constexpr int kTries = 100;

/// Reads the checkpoint that a person named, again where it was replaced meanwhile.
/// error  kCheckpoint where it was removed meanwhile
Reading read_named(const std::string& step_folder) {
  const std::string manifest = join_path(step_folder, kManifestFile);
  bool begun = path_exists(manifest);
  Reading reading = try_read(step_folder);
  for (int i = 1; reading.gone && i < kTries && path_exists(manifest); ++i) {
    begun = begun || reading.begun;
    reading = try_read(step_folder);
  }
  if (reading.gone && (begun || reading.begun))
    throw Error(ErrorKind::kCheckpoint, "the checkpoint was removed while it was read")
        .at(step_folder)
        .hint(
            "a temporary checkpoint lasts until the next save; name the run's folder to get its "
            "latest");
  return reading;
}

/// Copies a slice's bytes to its box in the whole tensor.
void copy_box(const std::byte* from, const TensorRecord& tensor, const SliceRecord& slice,
              std::byte* to) {
  // The last axes that the box spans whole, and one more, make runs without a break.
  size_t outer = tensor.shape.size();
  int64_t run = 1, stride = 1;
  bool whole = true;
  std::vector<int64_t> strides(outer);
  for (size_t i = outer; i-- > 0; stride *= tensor.shape[i]) {
    strides[i] = stride;
    if (!whole) continue;
    run *= slice.extent[i];
    outer = i;
    whole = slice.extent[i] == tensor.shape[i];
  }
  const int64_t element = size_of(tensor.dtype);
  const auto run_bytes = static_cast<size_t>(run * element);
  std::vector<int64_t> index(outer, 0);
  for (int64_t left = slice.bytes; left > 0; left -= run * element, from += run_bytes) {
    int64_t at = 0;
    for (size_t i = 0; i < tensor.shape.size(); ++i)
      at += (slice.start[i] + (i < outer ? index[i] : 0)) * strides[i];
    std::memcpy(to + at * element, from, run_bytes);
    for (size_t i = outer; i-- > 0 && ++index[i] == slice.extent[i];) index[i] = 0;
  }
}

std::string checkpoints_below(const std::string& path) {
  const std::string below = join_path(path, "checkpoints");
  return list_checkpoints(path).empty() && path_exists(below) ? below : path;
}

/// The step folder that ".../best" stands for; any other path as it is.
std::string without_best(const std::string& path) {
  if (file_name(path) != kBestName || path_exists(path) || !is_directory(parent_path(path)))
    return path;
  const std::string folder = checkpoints_below(parent_path(path));
  const int64_t step = best_checkpoint(folder).step;
  if (step >= 0) return step_folder(folder, step);
  throw Error(ErrorKind::kCheckpoint, cat("there is no best checkpoint in ", parent_path(path)))
      .hint(
          "a run with validation keeps one, unless trainer.checkpointer.keep_best = false; the "
          "folder alone means the latest");
}

/// The runs that lie in a folder, by the names of theirs.
std::vector<std::string> runs_in(const std::string& folder) {
  std::vector<std::string> runs;
  for (std::string& name : list_directory(folder))
    if (is_directory(join_path(join_path(folder, name), "checkpoints")))
      runs.push_back(std::move(name));
  return runs;
}

/// Why a folder holds no checkpoint.
const char* folder_hint(const std::string& path) {
  if (path_exists(join_path(path, "config.json")))
    return "that is a Hugging Face folder, which has no checksums to verify";
  if (is_directory(path))
    return "a run saves its first checkpoint after checkpointer.save_interval";
  return path_exists(path) ? "that is a file" : "there is no such folder";
}

[[noreturn]] void none_found(const std::string& path) {
  constexpr size_t kNamed = 12;
  std::vector<std::string> runs = is_directory(path) ? runs_in(path) : std::vector<std::string>();
  if (!runs.empty()) {
    const std::string first = join_path(path, runs[0]);
    if (runs.size() > kNamed) {
      runs.resize(kNamed);
      runs.emplace_back("...");
    }
    throw Error(ErrorKind::kCheckpoint, cat(path, " is a folder of runs, not one of them"))
        .allowed(join(runs, ", "))
        .hint(cat("name a run: --checkpoint ", first));
  }
  throw Error(ErrorKind::kCheckpoint, cat("no checkpoint in ", path))
      .allowed(
          "a folder step-N with a manifest.json, or the run folder that holds checkpoints/; "
          "some commands take a Hugging Face folder with its config.json")
      .hint(folder_hint(path));
}

}  // namespace

Checkpoint::Checkpoint(std::string folder, Manifest manifest, Files files)
    : folder_(std::move(folder)),
      manifest_(std::move(manifest)),
      files_(std::make_shared<const Files>(std::move(files))),
      config_toml_(content_of(files_->at(std::string(kConfigFile)))),
      tokenizer_(content_of(files_->at(std::string(kTokenizerFile)))) {}

bool Checkpoint::has(std::string_view path) const {
  return manifest_.tensors.find(std::string(path)) != manifest_.tensors.end();
}

const TensorRecord& Checkpoint::tensor(std::string_view path) const {
  const auto found = manifest_.tensors.find(std::string(path));
  if (found != manifest_.tensors.end()) return found->second;
  std::vector<std::string> all;
  for (const auto& [name, record] : manifest_.tensors) all.push_back(name);
  const std::string near = nearest(path, all);
  throw Error(ErrorKind::kCheckpoint, cat("the checkpoint has no tensor ", quote(path)))
      .at(folder_)
      .hint(near.empty() ? "it was written by another model" : cat("the nearest is ", quote(near)));
}

void Checkpoint::load_tensor(std::string_view path, std::span<std::byte> destination) const {
  const TensorRecord& record = tensor(path);
  LEV_CHECK(static_cast<int64_t>(destination.size()) == record.bytes(),
            cat("tensor ", path, " is read into another size"));
  std::vector<std::byte> box;
  for (const SliceRecord& slice : record.slices) {
    if (slice.bytes == 0) continue;
    const InputFile& file = files_->at(slice.file);
    if (slice.bytes == record.bytes()) {
      file.read(slice.offset, destination);
      continue;
    }
    box.resize(static_cast<size_t>(slice.bytes));
    file.read(slice.offset, box);
    copy_box(box.data(), record, slice, destination.data());
  }
}

void Checkpoint::load(const Tensor& target) const {
  const TensorRecord& record = tensor(target.path);
  if (record.dtype != target.dtype || record.shape != target.whole_shape())
    throw Error(
        ErrorKind::kCheckpoint,
        cat("tensor ", quote(target.path), " is ", shape_text(record.dtype, record.shape),
            " in the checkpoint, but ", shape_text(target.dtype, target.whole_shape()), " here"))
        .at(folder_)
        .hint("the model or its precision differs from the checkpoint's config.toml");
  HostWrite place(*target.memory, target.data, static_cast<size_t>(target.bytes()));
  if (target.all_rows == 0)
    load_tensor(target.path, place.bytes());
  else
    load_rows(target, place.bytes());
  place.done();
}

void Checkpoint::load_rows(const Tensor& target, std::span<std::byte> destination) const {
  const TensorRecord& record = tensor(target.path);
  const int64_t row = target.bytes() / target.shape[0];  // bytes
  const auto spans_rows = [&](const SliceRecord& slice) {
    return std::equal(slice.extent.begin() + 1, slice.extent.end(), record.shape.begin() + 1);
  };
  if (!std::all_of(record.slices.begin(), record.slices.end(), spans_rows)) {
    std::vector<std::byte> whole(static_cast<size_t>(record.bytes()));
    load_tensor(target.path, whole);
    std::memcpy(destination.data(), whole.data() + target.first_row * row, destination.size());
    return;
  }
  for (const SliceRecord& slice : record.slices) {
    const int64_t first = slice.start[0];
    const int64_t begin = std::max(first, target.first_row);
    const int64_t end = std::min(first + slice.extent[0], target.first_row + target.shape[0]);
    if (begin >= end) continue;
    files_->at(slice.file)
        .read(slice.offset + (begin - first) * row,
              destination.subspan(static_cast<size_t>((begin - target.first_row) * row),
                                  static_cast<size_t>((end - begin) * row)));
  }
}

std::string Checkpoint::path_in_use(std::string_view path, bool ema) const {
  const std::string kept = cat("optimizer.", ema ? optim::kEma : optim::kAverage, ".", path);
  if (has(kept)) return kept;
  const std::string any = cat("optimizer.", optim::kEma, ".");
  const auto first = manifest_.tensors.lower_bound(any);
  if (ema && (first == manifest_.tensors.end() || !first->first.starts_with(any)))
    throw Error(ErrorKind::kCheckpoint, "the checkpoint has no running mean of the weights")
        .at(folder_)
        .hint("a run keeps one with optimizer.ema = { decay = 0.999 }");
  return std::string(path);  // a frozen one has no mean
}

std::string Checkpoint::params_hash() const {
  Hasher hasher(Hasher::Width::k128);
  std::vector<std::byte> memory;
  for (const auto& [path, record] : manifest_.tensors) {  // a map is sorted bytewise
    if (!record.in_model()) continue;
    memory.resize(static_cast<size_t>(record.bytes()));
    load_tensor(path, memory);
    hash_parameter(hasher, {path, record.dtype, record.shape, memory.data()});
  }
  return hasher.hex();
}

Checkpoint read_checkpoint(const std::string& step_folder) {
  Reading reading = read_named(step_folder);
  if (reading.checkpoint) return std::move(*reading.checkpoint);
  throw Error(ErrorKind::kCheckpoint, cat("bad checkpoint: ", reading.problems.front()))
      .at(step_folder)
      .hint("use an earlier checkpoint; `levanter verify` lists all that is wrong with this one");
}

FoundCheckpoint find_latest(const std::string& folder) {
  FoundCheckpoint found;
  for (int i = 0; i < kTries; ++i) {
    found.problems.clear();
    bool gone = false;
    const std::vector<int64_t> steps = list_checkpoints(folder);
    for (size_t s = steps.size(); s-- > 0 && !gone;) {
      const std::string path = step_folder(folder, steps[s]);
      Reading reading = try_read(path);
      gone = reading.gone;
      if (reading.checkpoint) {
        found.checkpoint = std::move(reading.checkpoint);
        return found;
      }
      if (!gone) found.problems.push_back(cat(path, ": ", join(reading.problems, "; ")));
    }
    if (!gone) break;  // else a newer one has been saved
  }
  return found;
}

BestCheckpoint best_checkpoint(const std::string& folder) {
  const std::vector<int64_t> steps = list_checkpoints(folder);
  for (size_t i = steps.size(); i-- > 0;) {
    try {
      const std::string path = join_path(step_folder(folder, steps[i]), kManifestFile);
      const auto extra = nlohmann::json::parse(Manifest::parse(read_file(path), path).extra_json,
                                               nullptr, /*allow_exceptions=*/false);
      if (!extra.is_object() || !extra.contains("kept_step") || !extra.contains("kept_loss"))
        continue;
      const auto &step = extra["kept_step"], &loss = extra["kept_loss"];
      if (!step.is_number_integer() || !loss.is_number()) continue;
      if (std::find(steps.begin(), steps.end(), step) != steps.end()) return {step, loss};
    } catch (const Error&) {
      // A damaged one knows nothing; the one before it may.
    }
  }
  return {};
}

FoundCheckpoint open_checkpoint(const std::string& given) {
  const std::string path = without_best(given);
  if (!is_directory(path)) none_found(path);
  if (path_exists(join_path(path, kManifestFile))) return {read_checkpoint(path), {}};
  FoundCheckpoint found = find_latest(checkpoints_below(path));
  if (found.checkpoint) return found;
  if (found.problems.empty()) none_found(path);
  throw Error(ErrorKind::kCheckpoint, cat("no good checkpoint in ", path, ": ", found.problems[0]))
      .hint("`levanter verify` lists all that is wrong with each");
}

namespace {

void add_to(VerifyReport& report, const std::string& folder, const Reading& reading) {
  if (reading.gone) return;
  for (const std::string& problem : reading.problems)
    report.problems.push_back(cat(folder, ": ", problem));
  if (!reading.checkpoint || reading.checkpoint->step() <= report.step) return;
  report.folder = folder;
  report.step = reading.checkpoint->step();
  report.params_hash = reading.checkpoint->params_hash();
}

}  // namespace

VerifyReport verify_checkpoint(const std::string& given) {
  const std::string path = without_best(given);
  if (!is_directory(path)) none_found(path);
  VerifyReport report;
  if (path_exists(join_path(path, kManifestFile)) || step_of(file_name(path))) {
    Reading reading = read_named(path);
    reading.gone = false;
    add_to(report, path, reading);
  } else {
    const std::string below = checkpoints_below(path);
    std::set<int64_t> seen;
    bool gone = true;
    for (int i = 0; i < kTries && gone; ++i) {  // newer ones replace those that have gone
      gone = false;
      const std::vector<int64_t> steps = list_checkpoints(below);
      const int64_t newest = seen.empty() ? -1 : *seen.rbegin();
      for (size_t s = steps.size(); s-- > 0 && (i == 0 || steps[s] > newest);) {
        const Reading reading = try_read(step_folder(below, steps[s]));
        seen.insert(steps[s]);
        gone = gone || reading.gone;
        add_to(report, step_folder(below, steps[s]), reading);
      }
    }
    if (report.step < 0 && report.problems.empty()) none_found(path);
  }
  report.ok = report.problems.empty();
  return report;
}

}  // namespace levanter

// Finding, checking and reading checkpoints.
#include "train/checkpoint_load.h"

#include <algorithm>
#include <cstring>
#include <map>
#include <utility>

#include "base/error.h"
#include "base/files.h"
#include "base/hash.h"
#include "base/strings.h"
#include "train/checkpoint.h"
#include "train/checkpoint_folder.h"

namespace levanter {

namespace {

constexpr size_t kReadBytes = size_t{1} << 20;

std::string shape_text(DType dtype, std::span<const int64_t> shape) {
  std::vector<std::string> sizes;
  for (const int64_t n : shape) sizes.push_back(cat(n));
  return cat(name_of(dtype), "[", join(sizes, ", "), "]");
}

/// Collects what is wrong with the files of a checkpoint.
class FileCheck {
 public:
  explicit FileCheck(const std::string& folder) : folder_(folder) {}

  void check(const std::string& name, const FileRecord& record) {
    const InputFile* file = open(name);
    if (!file) return;
    if (file->size() != record.bytes) {
      problems.push_back(cat(name, " has ", file->size(), " bytes instead of ", record.bytes));
      bad_.push_back(name);
    } else if (hash(*file, 0, record.hashed) != record.xxh3) {
      problems.push_back(cat(name, " does not match its checksum"));
    }
  }

  void check(const std::string& path, const SliceRecord& slice) {
    const InputFile* file = open(slice.file);
    if (!file || std::find(bad_.begin(), bad_.end(), slice.file) != bad_.end()) return;
    if (slice.offset > file->size() || slice.bytes > file->size() - slice.offset) {
      problems.push_back(cat(slice.file, " is too short for tensor ", path));
    } else if (hash(*file, slice.offset, slice.bytes) != slice.xxh3) {
      problems.push_back(cat(slice.file, ": tensor ", path, " does not match its checksum"));
    }
  }

  std::vector<std::string> problems;

 private:
  /// The open file, or nullptr when it cannot be opened, which is said once.
  const InputFile* open(const std::string& name) {
    const auto known = files_.find(name);
    if (known != files_.end()) return known->second ? &*known->second : nullptr;
    std::optional<InputFile>& file = files_[name];
    try {
      file.emplace(join_path(folder_, name));
    } catch (const Error& error) {
      problems.push_back(error.message());
      return nullptr;
    }
    return &*file;
  }

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

  const std::string& folder_;
  std::map<std::string, std::optional<InputFile>> files_;
  std::vector<std::string> bad_;
  std::vector<std::byte> buffer_;
  Hasher hasher_{Hasher::Width::k64};
};

/// The checkpoint, or nothing and everything that is wrong with it.
std::optional<Checkpoint> try_read(const std::string& folder, std::vector<std::string>& problems) {
  try {
    const std::string manifest_path = join_path(folder, kManifestFile);
    Manifest manifest = Manifest::parse(read_file(manifest_path), manifest_path);
    FileCheck files(folder);
    for (const auto& [name, record] : manifest.files) files.check(name, record);
    for (const auto& [path, tensor] : manifest.tensors)
      for (const SliceRecord& slice : tensor.slices) files.check(path, slice);
    if (step_of(file_name(folder)).value_or(manifest.step) != manifest.step)
      files.problems.push_back(cat("its manifest is of step ", manifest.step));
    if (!files.problems.empty()) {
      problems = std::move(files.problems);
      return std::nullopt;
    }
    std::string config = read_file(join_path(folder, kConfigFile));
    std::string tokenizer = read_file(join_path(folder, kTokenizerFile));
    return Checkpoint(folder, std::move(manifest), std::move(config), std::move(tokenizer));
  } catch (const Error& error) {
    problems.push_back(error.message());
    return std::nullopt;
  }
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

[[noreturn]] void none_found(const std::string& path) {
  throw Error(ErrorKind::kCheckpoint, cat("no checkpoint in ", path))
      .allowed(
          "a folder step-N with a manifest.json, or the run folder that holds checkpoints/; "
          "some commands take a Hugging Face folder with its config.json")
      .hint(is_directory(path) ? "a run saves its first checkpoint after checkpointer.save_interval"
            : path_exists(path) ? "that is a file"
                                : "there is no such folder");
}

}  // namespace

Checkpoint::Checkpoint(std::string folder, Manifest manifest, std::string config_toml,
                       std::string tokenizer)
    : folder_(std::move(folder)),
      manifest_(std::move(manifest)),
      config_toml_(std::move(config_toml)),
      tokenizer_(std::move(tokenizer)) {}

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
    const InputFile file(join_path(folder_, slice.file));
    if (slice.bytes == record.bytes()) {
      file.read(slice.offset, destination);
      continue;
    }
    box.resize(static_cast<size_t>(slice.bytes));
    file.read(slice.offset, box);
    copy_box(box.data(), record, slice, destination.data());
  }
}

void Checkpoint::load(const TensorTarget& target) const {
  const TensorRecord& record = tensor(target.path);
  if (record.dtype != target.dtype || record.shape != target.shape)
    throw Error(ErrorKind::kCheckpoint,
                cat("tensor ", quote(target.path), " is ", shape_text(record.dtype, record.shape),
                    " in the checkpoint, but ", shape_text(target.dtype, target.shape), " here"))
        .at(folder_)
        .hint("the model or its precision differs from the checkpoint's config.toml");
  load_tensor(target.path, {target.data, static_cast<size_t>(record.bytes())});
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
  std::vector<std::string> problems;
  std::optional<Checkpoint> checkpoint = try_read(step_folder, problems);
  if (checkpoint) return std::move(*checkpoint);
  throw Error(ErrorKind::kCheckpoint, cat("bad checkpoint: ", problems.front()))
      .at(step_folder)
      .hint("use an earlier checkpoint; `levanter verify` lists all that is wrong with this one");
}

FoundCheckpoint find_latest(const std::string& folder) {
  FoundCheckpoint found;
  const std::vector<int64_t> steps = list_checkpoints(folder);
  for (size_t i = steps.size(); i-- > 0 && !found.checkpoint;) {
    const std::string path = step_folder(folder, steps[i]);
    std::vector<std::string> problems;
    found.checkpoint = try_read(path, problems);
    if (!found.checkpoint) found.problems.push_back(cat(path, ": ", join(problems, "; ")));
  }
  return found;
}

FoundCheckpoint open_checkpoint(const std::string& path) {
  if (!is_directory(path)) none_found(path);
  if (path_exists(join_path(path, kManifestFile))) return {read_checkpoint(path), {}};
  FoundCheckpoint found = find_latest(checkpoints_below(path));
  if (found.checkpoint) return found;
  if (found.problems.empty()) none_found(path);
  throw Error(ErrorKind::kCheckpoint, cat("no good checkpoint in ", path, ": ", found.problems[0]))
      .hint("`levanter verify` lists all that is wrong with each");
}

VerifyReport verify_checkpoint(const std::string& path) {
  if (!is_directory(path)) none_found(path);
  std::vector<std::string> folders;
  if (path_exists(join_path(path, kManifestFile)) || step_of(file_name(path))) {
    folders.push_back(path);
  } else {
    const std::string below = checkpoints_below(path);
    for (const int64_t step : list_checkpoints(below)) folders.push_back(step_folder(below, step));
  }
  if (folders.empty()) none_found(path);
  VerifyReport report;
  for (size_t i = folders.size(); i-- > 0;) {
    std::vector<std::string> problems;
    const std::optional<Checkpoint> checkpoint = try_read(folders[i], problems);
    for (const std::string& problem : problems)
      report.problems.push_back(cat(folders[i], ": ", problem));
    if (!checkpoint || report.step >= 0) continue;
    report.folder = folders[i];
    report.step = checkpoint->step();
    report.params_hash = checkpoint->params_hash();
  }
  report.ok = report.problems.empty();
  return report;
}

}  // namespace levanter

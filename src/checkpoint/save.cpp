// The one way that checkpoints are written.
#include "checkpoint/save.h"

#include <algorithm>
#include <chrono>
#include <exception>
#include <iterator>
#include <nlohmann/json.hpp>
#include <optional>
#include <thread>
#include <utility>

#include "base/error.h"
#include "base/files.h"
#include "base/hash.h"
#include "base/strings.h"
#include "checkpoint/folder.h"
#include "checkpoint/manifest.h"
#include "device/transfer.h"

namespace levanter {

namespace {

/// Room asked for beyond the tensors' files: manifest, texts, the file system's own blocks.
constexpr int64_t kSpareDiskBytes = int64_t{1} << 20;

/// How long the first writer waits between two looks for another's part.
constexpr std::chrono::milliseconds kLongestPause{50};
/// Seconds that it still waits once nobody wants the save any more.
constexpr double kLastPatience = 2;

void check_free_space(const std::string& folder, int64_t needed) {
  const int64_t free = free_disk_bytes(folder);
  if (free >= needed) return;
  throw Error(ErrorKind::kIo, cat("cannot save a checkpoint: it needs ", format_bytes(needed),
                                  " and the disk has ", format_bytes(free), " left"))
      .at(folder)
      .hint("free space on that disk; the former checkpoints are untouched");
}

void write_text(const std::string& folder, std::string_view name, std::string_view text,
                Manifest& manifest) {
  write_file_atomic(join_path(folder, name), text);
  const auto bytes = static_cast<int64_t>(text.size());
  manifest.files[std::string(name)] = {bytes, bytes, xxh3_64(text)};
}

/// Writes one safetensors file; `next` is the plan's piece to go on with.
void write_tensors(const std::string& folder, const SavePlan::File& plan, PieceSource& source,
                   size_t& next, Manifest& manifest) {
  AtomicFile file(join_path(folder, plan.name), Writes::kDirect);
  file.write(plan.layout.header);
  manifest.files[plan.name] = {plan.layout.file_bytes,
                               static_cast<int64_t>(plan.layout.header.size()),
                               xxh3_64(plan.layout.header)};
  Hasher hasher(Hasher::Width::k64);
  for (size_t i = 0; i < plan.tensors.size(); ++i) {
    const Tensor& tensor = plan.tensors[i];
    hasher.reset();
    for (int64_t left = tensor.bytes(); left > 0; ++next) {
      const std::span<const std::byte> piece = source.take(next);
      hasher.update(piece);
      file.write(piece);
      left -= static_cast<int64_t>(piece.size());
      source.release(next);
    }
    SliceRecord slice{plan.name,      plan.layout.slots[i].begin,
                      tensor.bytes(), std::vector<int64_t>(tensor.shape.size(), 0),
                      tensor.shape,   hasher.value64()};
    if (!slice.start.empty()) slice.start[0] = tensor.first_row;
    manifest.tensors[tensor.path] = {tensor.dtype, tensor.whole_shape(), {std::move(slice)}};
  }
  LEV_CHECK(file.size() == plan.layout.file_bytes,
            "a checkpoint file has another size than planned");
  file.commit();
}

/// Moves what somebody keeps among a checkpoint's files into the folder that replaces theirs.
void move_foreign(const std::string& from, const std::string& to) {
  for (const std::string& name : list_directory(from))
    if (const std::string path = join_path(from, name); !is_checkpoint_file(path))
      rename_path(path, join_path(to, name));
}

/// What a writer says of its part, or why there is none.
void write_part_file(const std::string& target, const SavePart& part, Manifest& manifest,
                     const std::string& failure) {
  manifest.extra_json = nlohmann::json{{"key", part.key}, {"failure", failure}}.dump();
  write_file_atomic(join_path(target, part_file(part.index)), manifest.text());
}

std::string message_of(const std::exception& error) {
  const auto* const ours = dynamic_cast<const Error*>(&error);
  return ours ? ours->message() : error.what();
}

/// Writes a part that is not the first; its failure is for the first to tell.
SaveReport write_part(const SavePlan& plan, PieceSource& source) {
  const SavePart& part = plan.contents.part;
  Manifest manifest;
  manifest.step = plan.contents.step;
  try {
    check_free_space(part.folder, plan.tensor_file_bytes + kSpareDiskBytes);
    size_t next = 0;
    for (const SavePlan::File& file : plan.files)
      write_tensors(part.folder, file, source, next, manifest);
    write_part_file(part.folder, part, manifest, "");
  } catch (const std::exception& error) {
    const std::exception_ptr failure = std::current_exception();
    try {
      Manifest none;
      none.step = plan.contents.step;
      write_part_file(part.folder, part, none, message_of(error));
    } catch (const std::exception&) {
      // The first hears of it when its patience ends.
    }
    std::rethrow_exception(failure);
  }
  return {plan.contents.step, plan.contents.permanent, part.folder, plan.tensor_file_bytes, 0, ""};
}

/// What another writer says of its part of this save, if it has: nothing yet, or a file that an
/// earlier try of the save has left, says nothing.
std::optional<Manifest> find_part(const std::string& path, const SavePart& save) {
  if (!path_exists(path)) return std::nullopt;
  try {
    Manifest part = Manifest::parse(read_file(path), path, Manifest::Of::kPart);
    const auto said = nlohmann::json::parse(part.extra_json);
    if (said.at("key") != save.key) return std::nullopt;
    if (const std::string failure = said.at("failure"); !failure.empty())
      throw Error(ErrorKind::kIo, failure);
    return part;
  } catch (const nlohmann::json::exception&) {
    return std::nullopt;
  } catch (const Error& error) {
    if (error.kind() == ErrorKind::kCheckpoint) return std::nullopt;  // is being replaced
    throw;
  }
}

/// Waits for another writer's part and adds it to the manifest.
void take_part(const std::string& target, const SavePart& save, int64_t index,
               const PieceSource& source, Manifest& manifest) {
  using Clock = std::chrono::steady_clock;
  const std::string path = join_path(target, part_file(index));
  const auto seconds_since = [](Clock::time_point start) {
    return std::chrono::duration<double>(Clock::now() - start).count();
  };
  const Clock::time_point begun = Clock::now();
  std::optional<Clock::time_point> given_up;
  std::chrono::milliseconds pause{1};
  std::optional<Manifest> part;
  try {
    for (part = find_part(path, save); !part; part = find_part(path, save)) {
      if (source.given_up() && !given_up) given_up = Clock::now();
      if (seconds_since(begun) > save.patience ||
          (given_up && seconds_since(*given_up) > kLastPatience))
        throw Error(ErrorKind::kIo, "it has not been heard of");
      std::this_thread::sleep_for(pause);
      pause = std::min(2 * pause, kLongestPause);
    }
  } catch (const Error& error) {
    throw Error(ErrorKind::kIo, cat("rank ", index, " has not saved its part: ", error.message()))
        .at(target)
        .hint("the run's folder must be on a disk that all ranks see and may write to");
  }
  manifest.files.merge(part->files);
  LEV_CHECK(part->files.empty(), "two ranks have saved one file");
  manifest.tensors.merge(part->tensors);
  for (auto& [tensor, record] : part->tensors) {  // of which others have rows too
    std::vector<SliceRecord>& slices = manifest.tensors.at(tensor).slices;
    std::move(record.slices.begin(), record.slices.end(), std::back_inserter(slices));
  }
}

int64_t write_files(const std::string& target, const SavePlan& plan, PieceSource& source) {
  const CheckpointContents& contents = plan.contents;
  Manifest manifest;
  manifest.step = contents.step;
  manifest.permanent = contents.permanent;
  manifest.config_hash = contents.config_hash;
  manifest.numerics = contents.numerics;
  if (!contents.extra_json.empty()) manifest.extra_json = contents.extra_json;
  size_t next = 0;
  for (const SavePlan::File& file : plan.files) write_tensors(target, file, source, next, manifest);
  for (int64_t part = 1; part < contents.part.count; ++part)
    take_part(target, contents.part, part, source, manifest);
  write_text(target, kConfigFile, contents.config_toml, manifest);
  write_text(target, kTokenizerFile, contents.tokenizer, manifest);
  const std::string text = manifest.text();
  Manifest::parse(text, target);  // a manifest that cannot be read back must not commit
  AtomicFile file(join_path(target, kManifestFile));
  file.write(text);  // before the parts' own files go, without which there is no second try
  for (int64_t part = 1; part < contents.part.count; ++part)
    remove_tree(join_path(target, part_file(part)));
  file.commit();
  auto bytes = static_cast<int64_t>(text.size());
  for (const auto& [name, file] : manifest.files) bytes += file.bytes;
  return bytes;
}

}  // namespace

std::span<const std::byte> SavePlan::Piece::read(std::vector<std::byte>& room) const {
  return read_bytes(*memory, data, size, room);
}

SavePlan::SavePlan(CheckpointContents given) : contents(std::move(given)) {
  const SavePart& part = contents.part;
  const std::string optimizer = file_of_part(kOptimizerFile, part.index, part.count);
  const std::string model = file_of_part(kModelFile, part.index, part.parts_model ? part.count : 1);
  const std::pair<std::string_view, std::span<const Tensor>> groups[] = {
      {model, contents.model}, {optimizer, contents.optimizer}};
  std::vector<std::string> paths;
  for (const auto& [name, tensors] : groups) {
    if (name == kModelFile && part.index > 0) continue;
    std::vector<safetensors::Entry> entries;
    for (const Tensor& tensor : tensors) {
      entries.push_back({tensor.path, safetensors::element_of(tensor.dtype), tensor.shape});
      paths.push_back(tensor.path);
    }
    File file{std::string(name), {}, safetensors::layout(entries)};
    for (const safetensors::Layout::Slot& slot : file.layout.slots) {
      const Tensor& tensor = tensors[slot.entry];
      file.tensors.push_back(tensor);
      const auto bytes = static_cast<size_t>(tensor.bytes());
      for (size_t at = 0; at < bytes; at += kPieceBytes)
        pieces.push_back({tensor.memory, tensor.data + at, std::min(bytes - at, kPieceBytes)});
    }
    tensor_file_bytes += file.layout.file_bytes;
    files.push_back(std::move(file));
  }
  std::sort(paths.begin(), paths.end());
  const auto twice = std::adjacent_find(paths.begin(), paths.end());
  LEV_CHECK(twice == paths.end(), cat("tensor ", *twice, " is in model and optimizer"));
  contents.model = contents.optimizer = {};  // the views were copied
}

std::string prepare_checkpoint(const std::string& folder, int64_t step) {
  const std::string final_path = step_folder(folder, step);
  make_directories(folder);
  const bool replaces = path_exists(join_path(final_path, kManifestFile));
  std::string target = replaces ? temporary_name(final_path) : final_path;
  remove_checkpoint(target);
  make_directories(target);
  sync_directory(folder);
  return target;
}

namespace {

void discard(const std::string& target) {
  try {
    remove_checkpoint(target);
  } catch (const Error&) {
    // What cannot be removed now has no manifest, and the next start removes it.
  }
}

}  // namespace

void discard_checkpoint(const SavePlan& plan) {
  const SavePart& part = plan.contents.part;
  if (part.count > 1 && part.index == 0) discard(part.folder);
}

SaveReport write_checkpoint(const std::string& folder, const SavePlan& plan, PieceSource& source) {
  const SavePart& part = plan.contents.part;
  if (part.index > 0) return write_part(plan, source);
  const auto start = std::chrono::steady_clock::now();
  const std::string final_path = step_folder(folder, plan.contents.step);
  std::string target = part.folder.empty() ? final_path : part.folder;
  SaveReport report{plan.contents.step, plan.contents.permanent, final_path, 0, 0, ""};
  bool replaces = false;
  try {
    if (part.folder.empty()) target = prepare_checkpoint(folder, plan.contents.step);
    replaces = target != final_path;
    check_free_space(folder, plan.tensor_file_bytes + kSpareDiskBytes);
    report.bytes = write_files(target, plan, source);
    if (replaces) exchange_paths(target, final_path);
    sync_directory(folder);
  } catch (...) {
    const std::exception_ptr failure = std::current_exception();
    if (part.count == 1) discard(target);
    std::rethrow_exception(failure);
  }
  report.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  try {
    if (replaces) {
      move_foreign(target, final_path);
      remove_checkpoint(target);
    }
    report.problem =
        join(remove_temporaries(folder, {plan.contents.step, plan.contents.keep_step}), "; ");
  } catch (const Error& error) {
    report.problem = error.message();
  }
  return report;
}

}  // namespace levanter

// The folder of a run's checkpoints.
#include "checkpoint/folder.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>

#include "base/error.h"
#include "base/files.h"
#include "base/strings.h"
#include "checkpoint/manifest.h"

namespace levanter {

namespace {

constexpr std::string_view kPrefix = "step-";

bool is_link(const std::string& path) {
  struct stat info {};
  return ::lstat(path.c_str(), &info) == 0 && S_ISLNK(info.st_mode);
}

std::vector<std::string> foreign_names(const std::string& step_folder) {
  std::vector<std::string> foreign;
  for (const std::string& name : list_directory(step_folder))
    if (!is_checkpoint_file(join_path(step_folder, name))) foreign.push_back(name);
  return foreign;
}

/// A folder with nothing but files of a checkpoint that was not completed, or not wholly removed.
bool is_incomplete(const std::string& step_folder) {
  return is_directory(step_folder) && !is_link(step_folder) &&
         !path_exists(join_path(step_folder, kManifestFile)) && foreign_names(step_folder).empty();
}

/// A damaged manifest says nothing of its kind: such a checkpoint is left for people to see.
bool is_temporary(const std::string& step_folder) {
  const std::string path = join_path(step_folder, kManifestFile);
  if (!path_exists(path)) return false;
  try {
    return !Manifest::parse(read_file(path), path).permanent;
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::kCheckpoint) throw;
    return false;
  }
}

/// The steps whose folders are there, complete or not, sorted.
std::vector<int64_t> list_step_folders(const std::string& folder) {
  std::vector<int64_t> steps;
  if (!path_exists(folder)) return steps;
  for (const std::string& name : list_directory(folder))
    if (const auto step = step_of(name)) steps.push_back(*step);
  std::sort(steps.begin(), steps.end());
  return steps;
}

std::string left(const std::string& path, const std::vector<std::string>& foreign) {
  return cat("left ", path, ", which is no checkpoint: it holds ", join(foreign, ", "));
}

}  // namespace

std::string step_folder(const std::string& folder, int64_t step) {
  return join_path(folder, cat(kPrefix, step));
}

std::optional<int64_t> step_of(std::string_view name) {
  if (!name.starts_with(kPrefix)) return std::nullopt;
  name.remove_prefix(kPrefix.size());
  int64_t step = 0;
  std::from_chars(name.data(), name.data() + name.size(), step);
  if (step < 0 || cat(step) != name) return std::nullopt;  // "", "-1", "007", "5x"
  return step;
}

std::vector<int64_t> list_checkpoints(const std::string& folder) {
  // A run that saves removes a manifest once a later one is there: they are looked for in that
  // order, and again if folders came or went meanwhile.
  constexpr int kLooks = 100;
  std::vector<int64_t> folders = list_step_folders(folder);
  for (int look = 1;; ++look) {
    std::vector<int64_t> complete;
    for (const int64_t step : folders)
      if (path_exists(join_path(step_folder(folder, step), kManifestFile)))
        complete.push_back(step);
    std::vector<int64_t> now = list_step_folders(folder);
    if (now == folders || look == kLooks) return complete;
    folders = std::move(now);
  }
}

bool is_checkpoint_file(const std::string& path) {
  struct stat info {};
  if (::lstat(path.c_str(), &info) != 0 || !S_ISREG(info.st_mode)) return false;
  const std::string name = file_name(path);
  return name == kManifestFile || name == kConfigFile || name == kTokenizerFile ||
         name == kModelFile || name == kOptimizerFile || is_part_name(name) ||
         is_temporary_name(name);
}

std::vector<std::string> remove_checkpoint(const std::string& step_folder) {
  if (is_link(step_folder)) return {"what a link points to"};
  if (!is_directory(step_folder)) return {};
  remove_tree(join_path(step_folder, kManifestFile));
  sync_directory(step_folder);
  for (const std::string& name : list_directory(step_folder))
    if (const std::string path = join_path(step_folder, name); is_checkpoint_file(path))
      remove_tree(path);
  if (::rmdir(step_folder.c_str()) == 0 || errno == ENOENT) return {};
  if (errno != ENOTEMPTY && errno != EEXIST)
    throw Error(ErrorKind::kIo, cat("cannot remove ", step_folder, ": ", system_words(errno)));
  return foreign_names(step_folder);
}

std::vector<std::string> clean_leftovers(const std::string& folder) {
  std::vector<std::string> lines;
  if (!path_exists(folder)) return lines;
  for (const std::string& name : list_directory(folder)) {
    const std::string path = join_path(folder, name);
    if (is_temporary_name(name)) {
      remove_tree(path);
      lines.push_back(cat("removed ", path, ", which a stopped process left"));
      continue;
    }
    if (!step_of(name) || !is_directory(path) || path_exists(join_path(path, kManifestFile)))
      continue;
    std::vector<std::string> foreign = foreign_names(path);
    if (foreign.empty()) foreign = remove_checkpoint(path);
    lines.push_back(foreign.empty()
                        ? cat("removed ", path, ", a checkpoint that was never completed")
                        : left(path, foreign));
  }
  return lines;
}

std::vector<std::string> list_temporaries(const std::string& folder,
                                          std::initializer_list<int64_t> kept) {
  std::vector<std::string> paths;
  for (const std::string& name : list_directory(folder)) {
    const auto step = step_of(name);
    if (!step || std::find(kept.begin(), kept.end(), *step) != kept.end()) continue;
    const std::string path = join_path(folder, name);
    if (is_temporary(path) || is_incomplete(path)) paths.push_back(path);
  }
  return paths;
}

std::vector<std::string> remove_temporaries(const std::string& folder,
                                            std::initializer_list<int64_t> kept) {
  std::vector<std::string> lines;
  for (const std::string& path : list_temporaries(folder, kept)) {
    try {  // one that can't be removed keeps no other
      if (const auto foreign = remove_checkpoint(path); !foreign.empty())
        lines.push_back(left(path, foreign));
    } catch (const Error& error) {
      lines.push_back(error.message());
    }
  }
  return lines;
}

}  // namespace levanter

// The folder of a run's checkpoints.
#include "train/checkpoint_folder.h"

#include <algorithm>
#include <charconv>

#include "base/error.h"
#include "base/files.h"
#include "base/strings.h"
#include "train/checkpoint_manifest.h"

namespace levanter {

namespace {
constexpr std::string_view kPrefix = "step-";
}

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
  std::vector<int64_t> steps;
  if (!path_exists(folder)) return steps;
  for (const std::string& name : list_directory(folder)) {
    const auto step = step_of(name);
    if (step && path_exists(join_path(join_path(folder, name), kManifestFile)))
      steps.push_back(*step);
  }
  std::sort(steps.begin(), steps.end());
  return steps;
}

void remove_checkpoint(const std::string& step_folder) {
  if (!is_directory(step_folder)) return;
  remove_tree(join_path(step_folder, kManifestFile));
  sync_directory(step_folder);
  remove_tree(step_folder);
}

void clean_leftovers(const std::string& folder) {
  if (!path_exists(folder)) return;
  for (const std::string& name : list_directory(folder)) {
    const std::string path = join_path(folder, name);
    const bool incomplete =
        step_of(name) && is_directory(path) && !path_exists(join_path(path, kManifestFile));
    if (is_temporary_name(name) || incomplete) remove_tree(path);
  }
}

void remove_temporaries(const std::string& folder, int64_t committed) {
  for (const int64_t step : list_checkpoints(folder)) {
    if (step == committed) continue;
    const std::string path = step_folder(folder, step);
    const std::string manifest_path = join_path(path, kManifestFile);
    bool temporary = false;
    try {
      temporary = !Manifest::parse(read_file(manifest_path), manifest_path).permanent;
    } catch (const Error& error) {
      // A damaged manifest says nothing of its kind: such a checkpoint is left for people to see.
      if (error.kind() != ErrorKind::kCheckpoint) throw;
    }
    if (temporary) remove_checkpoint(path);
  }
}

}  // namespace levanter

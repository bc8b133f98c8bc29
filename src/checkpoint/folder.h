// The folder of a run's checkpoints: names, what is there, what is removed.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace levanter {

/// <folder>/step-N.
std::string step_folder(const std::string& folder, int64_t step);

/// N of "step-N", or nothing for another name.
std::optional<int64_t> step_of(std::string_view name);

/// The steps of the complete checkpoints in the folder (those with a manifest, good or not),
/// ascending; none for a missing folder.
std::vector<int64_t> list_checkpoints(const std::string& folder);

/// Whether this program writes files of that name into a checkpoint's folder. Others are somebody
/// else's, and so is what is no plain file.
bool is_checkpoint_file(const std::string& path);

/// Removes a checkpoint's files and, where nothing else is in it, its folder; a process killed
/// meanwhile leaves an incomplete one, never a damaged one. returns the names of what is not ours
/// and stays
std::vector<std::string> remove_checkpoint(const std::string& step_folder);

/// Removes what killed processes left: temporary names, and folders step-N without a manifest that
/// hold nothing but a checkpoint's files. Only for the process that holds the run's lock.
/// returns a line for each that was removed or left
std::vector<std::string> clean_leftovers(const std::string& folder);

/// The temporary checkpoints other than those of the steps `kept`, and what is left of those that
/// could not be removed, or saved, before. What each manifest says now counts, so writing
/// "permanent" into one (and removing its last key, the seal) rescues it.
std::vector<std::string> list_temporaries(const std::string& folder,
                                          std::initializer_list<int64_t> kept);

/// Removes them.
///   returns a line for each folder that had to stay, or could not be removed
std::vector<std::string> remove_temporaries(const std::string& folder,
                                            std::initializer_list<int64_t> kept);

}  // namespace levanter

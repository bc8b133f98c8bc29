// What levanter plan says of a step's memory.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "train/setup.h"

namespace levanter::train {

/// The text with blanks before it, at least `width` wide.
std::string align_right(std::string_view text, size_t width);

/// Model, cut of the batch, every piece of memory, and the totals next to what there is: of one
/// memory, or where the device has its own of that and the host's. `needs`: of memory_needs.
std::string memory_report(const TrainConfig& config, const CompiledStep& step,
                          std::span<const MemoryNeed> needs);

/// The same for programs, a run's plan.json: {"ranks", "persistent": [{"what", "bytes"}],
/// "arena_bytes", "workspace_bytes", "loader_bytes", "save_bytes", "steps", "peak_step",
/// "peak_place", "buffers": [{"offset", "bytes", "first", "last", "saved", "op", "where"}]}. Of the
/// arena's buffers those are listed that take most of it for longest.
std::string memory_json(const TrainConfig& config, const CompiledStep& step);

}  // namespace levanter::train

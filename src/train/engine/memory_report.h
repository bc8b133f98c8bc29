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

}  // namespace levanter::train

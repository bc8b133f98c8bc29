// The devices that trainer.device can name.
#pragma once

#include <memory>
#include <span>
#include <string_view>

#include "device/backend.h"

namespace levanter::device {

std::span<const BackendEntry* const> entries();

/// Error kConfig, listing the names, for a device that is not there.
const BackendEntry& entry(std::string_view name);

/// The backend called `name`, with `threads` threads (0: as many as the machine allows).
std::unique_ptr<Backend> make_backend(std::string_view name, int threads);

}  // namespace levanter::device

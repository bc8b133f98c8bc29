// The devices that trainer.device can name.
#pragma once

#include <memory>
#include <span>
#include <string_view>

#include "device/backend.h"

namespace levanter::device {

std::span<const BackendEntry* const> entries();

/// The backend called `name`, with `threads` threads (0: as many as the machine allows). Error
/// kConfig, listing the names, for another.
std::unique_ptr<Backend> make_backend(std::string_view name, int threads);

}  // namespace levanter::device

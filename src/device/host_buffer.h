// Memory of the host: zero-filled, in huge pages where the system has them, touched in parallel.
#pragma once

#include <memory>

#include "device/backend.h"

namespace levanter {

/// `bytes` of page-aligned memory; large pieces are touched by `threads` threads. Error kDevice
/// when the system has no more.
std::unique_ptr<Buffer> allocate_host(int64_t bytes, int threads);

}  // namespace levanter

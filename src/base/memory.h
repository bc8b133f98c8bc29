// How much memory this process may still map, and errors that say so.
#pragma once

#include <cstdint>

#include "base/error.h"

namespace levanter {

/// Bytes that may still be mapped under the limits of address space and of data (`ulimit -v` and
/// `-d`); -1 where there is neither.
int64_t mappable_bytes();

/// For a program that begins under such a limit: threads share one heap, each one's own would
/// reserve 64 MiB, and what exceptions need to pass through the system's libraries is loaded.
void prepare_for_memory_limits();

/// Memory ran out: kDevice, with what may still be mapped where that is limited.
Error out_of_memory();

/// error  out_of_memory() unless `bytes` more may be mapped
void require_mappable(int64_t bytes);

}  // namespace levanter

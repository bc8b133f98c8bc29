// What people see while token caches are made.
#pragma once

#include "data/cache_build.h"

namespace levanter::commands {

/// Writes to stderr: on a terminal one line that changes, and a last line for every finished cache.
data::CacheReport cache_progress();

/// "web/train: 12,345 documents, 3,456,789 tokens".
std::string describe(const data::CacheStatus& status);

}  // namespace levanter::commands

// What people see while something takes long, on stderr.
#pragma once

#include "base/progress.h"
#include "data/cache/cache_build.h"

namespace levanter::commands {

/// Of token caches: on a terminal one line that changes, and a last line for every finished one.
data::CacheReport cache_progress();

/// Of anything else: on a terminal one line that changes and goes at the end, else a line a minute.
ProgressReport phase_progress();

/// "web/train: 12,345 documents, 3,456,789 tokens".
std::string describe(const data::CacheStatus& status);

}  // namespace levanter::commands

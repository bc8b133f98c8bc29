// Where a process runs and how it was called: what a run's record keeps of it.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string_view>

namespace levanter::record {

/// {"host", "processors", "pid", "command": [...], "directory", "environment": {...}} of this
/// process.
nlohmann::ordered_json surroundings();

/// Whether a variable of the environment may change what a run does or how fast: those of
/// libraries, of the loader and of what starts jobs. One whose name speaks of a secret is none.
bool matters(std::string_view variable);

}  // namespace levanter::record

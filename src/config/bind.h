// Filling config structs from values, reporting every fault on the way.
#pragma once

#include "config/fields.h"
#include "config/value.h"

namespace levanter::config {

/// Sets the fields of the struct `object` from the table `root`, the others keep their defaults;
/// resolves paths, notes the place of each key in `sources`, then runs every `validate`, innermost
/// structs first. A refused value leaves its field at a harmless one. `problems` must have been
/// made with the same `sources`.
void bind(const Value& root, const Type& type, void* object, Sources& sources, Problems& problems);

/// Seconds of "15m", "1h30m", "500ms", "20" or "1.5h"; false when the text is none of these.
bool parse_duration(std::string_view text, double& seconds);

}  // namespace levanter::config

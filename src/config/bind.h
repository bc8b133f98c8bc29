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

}  // namespace levanter::config

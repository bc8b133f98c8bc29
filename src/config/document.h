// A config file with its includes and overrides as one tree of values.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "config/value.h"

namespace levanter::config {

/// Reads `path` ("" for none), what it includes, and applies the overrides to it.
///   include = ["base.toml"]  at the top of a file: those files first, in order, each once, then
///   the file itself; all together at most 1 MiB
///   --k.p=v, --k.p v         overrides, later ones over earlier ones; v stays text (Kind::kRaw)
/// Missing files, cycles of includes, faults of syntax and malformed overrides go to `problems`.
Value load_document(const std::string& path, std::span<const std::string> overrides,
                    Problems& problems);

/// As load_document, with the file's content given; `name` stands for its path.
Value parse_document(std::string_view text, const std::string& name,
                     std::span<const std::string> overrides, Problems& problems);

/// Reads an override's text as TOML and merges it over the value that it replaces.
/// False when it is not TOML, with the reason in `error`.
bool read_raw(const Value& raw, Value& out, std::string& error);

}  // namespace levanter::config

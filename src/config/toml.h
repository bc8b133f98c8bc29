// Reading TOML 1.0 (https://toml.io) into values that know their places.
#pragma once

#include <string>
#include <string_view>

#include "config/value.h"

namespace levanter::config {

inline constexpr int kMostKeyParts = 32;

/// Parses a document. A fault of syntax is reported with its line and column under the name `file`
/// and leaves an empty table; so is a key of more than 32 parts, and what nests more than 64 deep,
/// for those who walk over values call themselves once a level.
Value parse_toml(std::string_view text, const std::string& file, Problems& problems);

/// Parses one value, such as the right side of an override. False when it is not TOML; `error` then
/// says why in a few words. Every part of `out` has the place `at`.
bool parse_toml_value(std::string_view text, const Source& at, Value& out, std::string& error);

}  // namespace levanter::config

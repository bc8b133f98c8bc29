// From config structs back to text: TOML, and one line a key for comparing.
#pragma once

#include <string>
#include <vector>

#include "config/fields.h"
#include "config/value.h"

namespace levanter::config {

/// A value as it would be written. Optional values that are absent become the word "none", optional
/// strings and paths that are absent are left out; paths are absolute.
Value to_value(const Type& type, const void* object);

/// A table as a TOML document: a section for each table in it.
std::string print_document(const Value& table);

/// One key and its value as TOML on a line.
struct Entry {
  std::string key, text;
  bool may_change = false;
};

/// Every key of a struct, in the order of declaration; lists are one entry, maps and choices one
/// for each key inside.
std::vector<Entry> flatten(const Type& type, const void* object);

}  // namespace levanter::config

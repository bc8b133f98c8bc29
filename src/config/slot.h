// One value on its way into one field: scalars are checked and set here.
#pragma once

#include <string>
#include <string_view>

#include "config/fields.h"
#include "config/value.h"

namespace levanter::config {

/// What is written, where it goes, and what it may be.
struct Slot {
  const Value& in;
  const Field& field;  ///< bounds and words, for a list those of its elements
  const Type& type;    ///< the field's, or below it an element's
  void* object;
  const std::string& path;  ///< the full key
  Problems& problems;
};

/// Reports "<path> = <value> <what>" with what is allowed.
Fault& refuse(const Slot& slot, std::string_view what);
/// Reports that the value is of another kind than the field; returns false.
bool wrong_kind(const Slot& slot);
/// Sets a bool, number, string, path or duration; false when it was refused.
bool bind_scalar(const Slot& slot);
/// Adds "the nearest is ..." to a fault when one of the words is near.
void hint_nearest(Fault& fault, std::string_view text, const std::vector<std::string>& words);

/// What to do about a path that names another machine's, "s3://bucket/a" or "hf://model"; "" for
/// any other.
std::string remote_hint(std::string_view path);

/// Seconds of "15m", "1h30m", "500ms", "20" or "1.5h"; false for any other text.
bool parse_duration(std::string_view text, double& seconds);

/// Characters of a value that an error shows.
inline constexpr size_t kShownCharacters = 60;

}  // namespace levanter::config

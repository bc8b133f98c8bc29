// Changes a JSON text here and there.
#pragma once

#include <string>
#include <string_view>

namespace levanter {

/// A JSON text with what a merge patch (RFC 7386) changes, another JSON text: its members stand in
/// the place of those of the same name, objects member by member, and null removes one. A text that
/// has all of it already, and one that is no JSON object, comes back as it is.
std::string patch_json(std::string_view json, std::string_view patch);

}  // namespace levanter

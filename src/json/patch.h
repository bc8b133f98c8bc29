// Changes a JSON text here and there.
#pragma once

#include <string>
#include <string_view>

namespace levanter {

/// A JSON object's text with what a merge patch (RFC 7386) changes, an object of JSON too: its
/// members stand in the place of those of the same name, objects member by member, and null removes
/// one inside of them. Only the object's own members that the patch names are read; all others
/// stand as they do. A text that is no object comes back as it is.
std::string patch_json(std::string_view json, std::string_view patch);

}  // namespace levanter

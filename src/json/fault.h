// What is wrong with a text that should be JSON.
#pragma once

#include <string>
#include <string_view>

namespace levanter {

/// What a JSON text that is cut ends inside of: "a string", "an object"; "" for one that is whole
/// but wrong.
std::string where_json_is_cut(std::string_view text);

/// Where a text stops being JSON: " at byte 10, behind ..."; "" where it is JSON to nlohmann's
/// parser.
std::string where_json_breaks(std::string_view text);

/// The end of a text in quotes: all of it, or its last 40 bytes from the beginning of a character.
std::string quote_end(std::string_view text);

}  // namespace levanter

// What a Hugging Face folder says of how its model generates.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace levanter::compat {

/// The "stop_strings" of a folder's generation_config.json.
std::vector<std::string> read_stop_strings(const std::string& folder);

/// The settings of a folder's generation_config.json, or of its config.json where there is none,
/// that change what Transformers writes even when it always takes the most probable token, and that
/// are not implemented here: "generation_config.json: not applied here: KEY = VALUE, ..."; "" where
/// there are none.
///   applied  a key that is left out
/// error  kCheckpoint where the file is no JSON object
std::string unapplied_settings(const std::string& folder, std::string_view applied);

}  // namespace levanter::compat

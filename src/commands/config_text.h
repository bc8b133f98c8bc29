// `levanter config check | print | describe`: validate a config, resolve it, document its keys.
#pragma once

#include <span>
#include <string>

namespace levanter::commands {

/// Checks a config and says in one line what it describes.
/// error  one Error of kind kConfig that lists every fault
std::string config_check(const std::string& path, std::span<const std::string> overrides);

/// The config with includes, overrides and defaults in place, as TOML that gives the same config.
std::string config_print(const std::string& path, std::span<const std::string> overrides);

/// What `key` and the keys below it mean, all keys for "".
/// error  kConfig for a key that does not exist, naming the nearest
std::string config_describe(const std::string& key);

/// The page docs/config.md.
std::string config_page();

}  // namespace levanter::commands

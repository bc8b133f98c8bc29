// `levanter config check | print | describe`: validate a config, resolve it, document its keys.
#pragma once

#include <span>
#include <string>
#include <utility>
#include <vector>

namespace levanter::commands {

/// Whether what a config names is looked at too: see train::look.
enum class Looks { kYes, kNo };

/// Checks a config and says in one line what it describes.
/// error  one Error of kind kConfig that lists every fault
std::string config_check(const std::string& path, std::span<const std::string> overrides,
                         Looks looks = Looks::kYes);
/// The same as one JSON object, {"ok": true, ...} or {"ok": false, "faults": [...], ...}; `ok` says
/// which.
std::string config_check_json(const std::string& path, std::span<const std::string> overrides,
                              Looks looks, bool& ok);

/// The config with includes, overrides and defaults in place, as TOML that gives the same config.
std::string config_print(const std::string& path, std::span<const std::string> overrides);

/// What `key` and the keys below it mean, all keys for "".
/// error  kConfig for a key that does not exist, naming the nearest
std::string config_describe(const std::string& key);

/// The keys that are set most often, as "--key VALUE", with their meaning and default: for help.
std::vector<std::pair<std::string, std::string>> often_set_keys();

/// The key whose last part is `name`, "trainer.threads" for "threads"; "" when there is none.
std::string key_called(const std::string& name);

/// The page docs/config.md.
std::string config_page();

}  // namespace levanter::commands

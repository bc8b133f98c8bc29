// What this program is: its version, the sources and the compiler that made it, its libraries.
#pragma once

#include <string>
#include <utility>
#include <vector>

namespace levanter::record {

struct Build {
  std::string version;   ///< "0.1.0"
  std::string revision;  ///< of the sources, as git names it; "unknown" outside of a repository
  bool dirty = false;    ///< whether the sources had changes that were not committed
  std::string compiler;  ///< "gcc 12.2.0"
  std::vector<std::pair<std::string, std::string>> libraries;  ///< names and versions
  std::vector<std::string> devices;                            ///< that trainer.device can name
};

Build this_build();

/// What `levanter --version` prints: the version on the first line.
std::string describe(const Build& build);
/// The same as one JSON object.
std::string json_of(const Build& build);

}  // namespace levanter::record

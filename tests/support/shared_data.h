// Where the real texts and reference results are that some tests read when they are there.
#pragma once

#include <cstdlib>
#include <string>
#include <string_view>

#include "base/files.h"
#include "base/strings.h"
#include "support/source_root.h"

namespace levanter::testing {

/// The path of a file of the shared data, below LEVANTER_TEST_DATA or beside the source tree; ""
/// when it is absent, and then the test says so with WARN and ends.
inline std::string shared_data(std::string_view name) {
  const char* folder = std::getenv("LEVANTER_TEST_DATA");
  const std::string beside = cat(source_root(), "/../shared/data");
  const std::string path = join_path(folder != nullptr && *folder != '\0' ? folder : beside, name);
  return path_exists(path) ? path : std::string();
}

}  // namespace levanter::testing

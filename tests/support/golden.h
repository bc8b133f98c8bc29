// Comparing text with a file under tests/golden, or writing that file anew.
#pragma once

#include <cstdlib>
#include <string>

#include "base/files.h"
#include "base/strings.h"
#include "support/source_root.h"

namespace levanter::testing {

/// The path of a golden file.
inline std::string golden_path(const std::string& name) {
  return cat(source_root(), "/tests/golden/", name);
}

/// Whether golden files are to be rewritten rather than compared with.
inline bool updating_golden() {
  const char* update = std::getenv("LEVANTER_UPDATE_GOLDEN");
  return update && std::string(update) == "1";
}

/// What the file at `path` says `text` should be; under LEVANTER_UPDATE_GOLDEN=1 it is `text` from
/// now on. "" for a file that is not there.
inline std::string expected_text(const std::string& path, const std::string& text) {
  if (updating_golden()) write_file_atomic(path, text);
  return path_exists(path) ? read_file(path) : "";
}

}  // namespace levanter::testing

// A fresh folder for one test, removed with all that it holds.
#pragma once

#include <stdlib.h>

#include <cstdio>
#include <string>
#include <string_view>

#include "base/error.h"
#include "base/files.h"

namespace levanter::testing {

class TemporaryFolder final {
 public:
  /// In the folder `base`; "": where the system wants such folders.
  explicit TemporaryFolder(std::string base = "") {
    const char* const temporary = std::getenv("TMPDIR");
    if (base.empty()) base = temporary && *temporary ? temporary : P_tmpdir;
    path_ = join_path(base, "levanter-test-XXXXXX");
    LEV_CHECK(::mkdtemp(path_.data()) != nullptr, "a test needs a temporary folder");
  }
  ~TemporaryFolder() {
    try {
      remove_tree(path_);
    } catch (const Error&) {
      // Nobody can mend it here.
    }
  }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;

  const std::string& path() const { return path_; }
  /// <folder>/name
  std::string operator/(std::string_view name) const { return join_path(path_, name); }

 private:
  std::string path_;
};

}  // namespace levanter::testing

// A shared library that is opened when the program runs.
#pragma once

#include <span>
#include <string>

#include "base/error.h"

namespace levanter::cuda {

/// What a library is for, where it is looked for and how it is got.
struct Library {
  const char* what;
  std::span<const char* const> files;
  const char* hint;
};

/// The functions of one library, which stays open until the program ends.
class Functions final {
 public:
  /// error  kDevice where none of the files can be opened
  explicit Functions(const Library& library);

  /// error  kDevice where the library lacks it
  template <class Function>
  void find(Function& function, const char* name) const {
    function = reinterpret_cast<Function>(address(name));
  }

 private:
  void* address(const char* name) const;
  Error failure(const std::string& fault) const;

  const Library& library_;
  void* handle_ = nullptr;
};

}  // namespace levanter::cuda

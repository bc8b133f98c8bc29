// A shared library that is opened when the program runs.
#include "kernels/cuda/library.h"

#include <dlfcn.h>

#include "base/strings.h"

namespace levanter::cuda {

Functions::Functions(const Library& library) : library_(library) {
  for (const char* file : library.files) {
    handle_ = ::dlopen(file, RTLD_NOW | RTLD_LOCAL);
    if (handle_) break;
  }
  if (!handle_) throw failure("the library is not there");
}

void* Functions::address(const char* name) const {
  void* found = ::dlsym(handle_, name);
  if (!found) throw failure(cat("the library is too old, it lacks ", name));
  return found;
}

Error Functions::failure(const std::string& fault) const {
  std::string files;
  for (const char* file : library_.files) files += cat(files.empty() ? "" : ", ", file);
  return Error(ErrorKind::kDevice, cat("device cuda needs ", library_.what, ": ", fault))
      .at(cat(files, " (in LD_LIBRARY_PATH and the loader's folders where no folder is named)"))
      .hint(library_.hint);
}

}  // namespace levanter::cuda

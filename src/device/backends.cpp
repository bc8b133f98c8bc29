// Makes the backend that trainer.device names.
#include "device/backends.h"

#include "base/error.h"
#include "base/strings.h"

namespace levanter::device {

std::unique_ptr<Backend> make_backend(std::string_view name, int threads) {
  std::string names;
  for (const BackendEntry* entry : entries()) {
    if (entry->name == name) return entry->make(threads);
    names += cat(names.empty() ? "" : ", ", entry->name);
  }
  throw Error(ErrorKind::kConfig, cat("there is no device ", quote(name))).allowed(names);
}

}  // namespace levanter::device

// Makes the backend that trainer.device names.
#include "device/backends.h"

#include "base/error.h"
#include "base/strings.h"

namespace levanter::device {

const BackendEntry& entry(std::string_view name) {
  std::string names;
  for (const BackendEntry* entry : entries()) {
    if (entry->name == name) return *entry;
    names += cat(names.empty() ? "" : ", ", entry->name);
  }
  throw Error(ErrorKind::kConfig, cat("there is no device ", quote(name))).allowed(names);
}

std::unique_ptr<Backend> make_backend(std::string_view name, int threads) {
  return entry(name).make(threads);
}

}  // namespace levanter::device

#include "dist/communicator.h"

#include "base/error.h"
#include "base/strings.h"

namespace levanter::dist {

const CommunicatorEntry& entry(std::string_view name) {
  for (const CommunicatorEntry* candidate : entries())
    if (candidate->name == name) return *candidate;
  throw Error(ErrorKind::kInternal, cat("there is no communicator ", quote(name)));
}

}  // namespace levanter::dist

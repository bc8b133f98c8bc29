#include "base/error.h"
#include "base/strings.h"
#include "models/model.h"

namespace levanter::models {

const ModelEntry& entry(std::string_view name) {
  for (const ModelEntry* candidate : entries())
    if (candidate->name == name) return *candidate;
  throw Error(ErrorKind::kInternal, cat("there is no model ", quote(name)));
}

}  // namespace levanter::models

// The objectives by name, and what their models see of a microbatch.
#include "models/objective.h"

#include "base/error.h"
#include "base/strings.h"

namespace levanter::models {

std::unique_ptr<const Objective> objectives::make(std::string_view name,
                                                  const ObjectiveOptions& options) {
  for (const ObjectiveEntry* candidate : entries())
    if (candidate->name == name) return candidate->make(options);
  throw Error(ErrorKind::kInternal, cat("there is no objective ", quote(name)));
}

LmBatch batch_of(BatchInputs& inputs) {
  LmBatch batch;
  batch.tokens = inputs("tokens");
  batch.segment_ids = inputs.segment_ids();
  batch.positions = inputs("positions");
  return batch;
}

}  // namespace levanter::models

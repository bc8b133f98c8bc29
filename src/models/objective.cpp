// The objectives by name, and what their models see of a microbatch.
#include "models/objective.h"

#include "base/error.h"
#include "base/strings.h"

namespace levanter::models {

std::unique_ptr<const Objective> objectives::make(std::string_view name,
                                                  const ObjectiveOptions& options) {
  for (const ObjectiveEntry* candidate : entries())
    if (candidate->name == name)
      return dynamic_cast<const ObjectiveConfig&>(*candidate->make_config()).make(options);
  throw Error(ErrorKind::kInternal, cat("there is no objective ", quote(name)));
}

LmBatch batch_of(BatchInputs& inputs) {
  LmBatch batch;
  batch.tokens = inputs("tokens");
  batch.segment_ids = inputs.segment_ids();
  batch.positions = inputs("positions");
  batch.attention = inputs.attention;
  return batch;
}

NamedArray token_losses_of(const LanguageModel& model, NamedArray h, NamedArray targets,
                           NamedArray weight) {
  const bool all = !weight;
  if (all) weight = broadcast(constant(h.graph(), 0, h.graph().real()), targets.axes());
  return linear_xent(h, pack(model.head()), targets, weight,
                     {.soft_cap = model.logit_soft_cap(), .scaled_only = !all})
      .token_loss;
}

NamedArray Objective::token_losses(const LanguageModel& model, BatchInputs& inputs) const {
  inputs("tokens");  // the first of the arguments
  const NamedArray targets = inputs("targets");
  return token_losses_of(model, model.hidden(batch_of(inputs)), targets);
}

NamedArray Objective::share(BatchInputs& inputs) const {
  const NamedArray weight = inputs("loss_weight");
  return sum(weight, weight.axes()) * inputs(kInverseTokens);
}

}  // namespace levanter::models

namespace levanter {

std::span<const config::ChoiceEntry> ObjectiveConfig::choices() {
  static const auto kChoices = [] {
    std::vector<config::ChoiceEntry> choices;
    for (const models::ObjectiveEntry* entry : models::objectives::entries())
      if (entry->is_chosen) choices.push_back({entry->name, entry->summary, entry->make_config});
    return choices;
  }();
  return kChoices;
}

}  // namespace levanter

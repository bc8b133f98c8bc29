// The mean over the loss tokens of -log p(target | tokens before it), and z-loss (Chowdhery et al.
// 2022, arXiv:2204.02311).
#include "models/objective.h"

namespace levanter::models::objectives {

namespace {

class LanguageModelling final : public Objective {
 public:
  explicit LanguageModelling(const ObjectiveOptions& options) : options_(options) {}

  Loss loss(const LanguageModel& model, BatchInputs& inputs) const override {
    inputs("tokens");  // the first of the arguments
    const NamedArray targets = inputs("targets");
    LmBatch batch = batch_of(inputs);
    const NamedArray weight = inputs("loss_weight");
    batch.dropout_keys = inputs(kDropoutKeys);
    const NamedArray inverse_tokens = inputs(kInverseTokens);
    Loss loss;
    batch.measures = &loss.measures;
    const NamedArray h = model.hidden(batch);
    loss.value =
        linear_xent(
            h, pack(model.head()), targets, weight * inverse_tokens,
            {.z_loss = options_.z_loss, .soft_cap = model.logit_soft_cap(), .scaled_only = true})
            .loss;
    return loss;
  }

 private:
  ObjectiveOptions options_;
};

struct LmConfig final : ObjectiveConfig {
  std::unique_ptr<const Objective> make(const ObjectiveOptions& options) const override {
    return std::make_unique<LanguageModelling>(options);
  }
};

}  // namespace

extern const ObjectiveEntry lm_entry;
const ObjectiveEntry lm_entry = {
    .name = "lm",
    .summary = "the cross-entropy of each token after those before it, with z-loss",
    .make_config = config::make_choice<LmConfig>};

}  // namespace levanter::models::objectives

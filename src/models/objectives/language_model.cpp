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
    loss.value = cross_entropy(model, h, targets, weight * inverse_tokens, options_.z_loss).loss;
    return loss;
  }

  NamedArray token_losses(const LanguageModel& model, BatchInputs& inputs) const override {
    inputs("tokens");  // the first of the arguments
    const NamedArray targets = inputs("targets");
    const NamedArray h = model.hidden(batch_of(inputs));
    const NamedArray scale =  // only token losses are asked for
        broadcast(constant(h.graph(), 0, h.graph().real()), targets.axes());
    return cross_entropy(model, h, targets, scale, 0).token_loss;
  }

 private:
  static LinearXent cross_entropy(const LanguageModel& model, NamedArray h, NamedArray targets,
                                  NamedArray scale, double z_loss) {
    return linear_xent(h, pack(model.head()), targets, scale,
                       {.z_loss = z_loss, .soft_cap = model.logit_soft_cap()});
  }

  ObjectiveOptions options_;
};

std::unique_ptr<const Objective> make_language_model(const ObjectiveOptions& options) {
  return std::make_unique<LanguageModelling>(options);
}

}  // namespace

extern const ObjectiveEntry language_model_entry;
const ObjectiveEntry language_model_entry = {
    .name = "language_model",
    .summary = "the cross-entropy of each token after those before it, with z-loss",
    .make = make_language_model};

}  // namespace levanter::models::objectives

// The cross-entropy of labels that the model draws itself: its gradients' squares estimate the
// diagonal of the Gauss-Newton matrix (Martens 2014, arXiv:1412.1193, section 11).
#include "models/objective.h"

namespace levanter::models::objectives {

namespace {

/// For each token a label drawn by its logits, i32 [batch, position]: the largest of logit plus
/// Gumbel noise.
///   keys  u32 [batch, key_word]
NamedArray draw_labels(NamedArray logits, NamedArray keys, const Axes& tokens) {
  constexpr uint32_t kStream = 0x6c6162;  // apart from those of dropouts
  constexpr double kLeast = 1e-20;        // uniform numbers begin at 0
  const AxisName vocab("vocab"), choice("choice");
  Axes axes = tokens;
  axes.push_back({vocab, logits.axes().size_of(vocab)});
  const NamedArray u = uniform(random_bits(fold_in(keys, kStream), axes), logits.dtype());
  const NamedArray noise = -log(-log(u + kLeast) + kLeast);
  const NamedArray largest = top_k(logits + noise, vocab, {choice, 1});
  return reduce(Reduce::kMax, largest, {{choice, 1}});
}

class DrawnLabels final : public Objective {
 public:
  Loss loss(const LanguageModel& model, BatchInputs& inputs) const override {
    inputs("tokens");  // the first of the arguments
    LmBatch batch = batch_of(inputs);
    const NamedArray weight = inputs("loss_weight");
    batch.dropout_keys = inputs(kDropoutKeys);
    const NamedArray inverse_tokens = inputs(kInverseTokens);
    Loss loss;
    batch.measures = &loss.measures;
    const NamedArray h = model.hidden(batch), head = pack(model.head());
    const Axes& tokens = weight.axes();
    Axes axes = tokens;
    axes.push_back({"vocab", head.axes().size_of("vocab")});
    NamedArray logits = dot(h, head, axes);
    const double cap = model.logit_soft_cap();
    if (cap > 0) logits = tanh(logits / cap) * cap;
    const NamedArray labels = draw_labels(logits, batch.dropout_keys, tokens);
    loss.value = linear_xent(h, head, labels, weight * inverse_tokens,
                             {.soft_cap = cap, .scaled_only = true})
                     .loss;
    return loss;
  }
};

struct DrawnLabelsConfig final : ObjectiveConfig {
  std::unique_ptr<const Objective> make(const ObjectiveOptions&) const override {
    return std::make_unique<DrawnLabels>();
  }
};

}  // namespace

extern const ObjectiveEntry drawn_labels_entry;
const ObjectiveEntry drawn_labels_entry = {
    .name = "drawn_labels",
    .summary = "the cross-entropy of labels that the model draws itself",
    .make_config = config::make_choice<DrawnLabelsConfig>,
    .is_chosen = false};

}  // namespace levanter::models::objectives

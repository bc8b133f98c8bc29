// Direct preference optimisation (Rafailov et al. 2023, arXiv:2305.18290), with labels smoothed
// (Mitchell 2023, "cDPO"); its loss as IPO (Azar et al. 2023, arXiv:2310.12036) or as a hinge
// (SLiC: Zhao et al. 2023, arXiv:2305.10425).
#include "base/strings.h"
#include "config/problems.h"
#include "models/pair_loss.h"

namespace levanter::models::objectives {

namespace {

enum class Form { kSigmoid, kIpo, kHinge };

std::span<const config::Word<Form>> words_of(Form) {
  static constexpr config::Word<Form> kWords[] = {
      {Form::kSigmoid, "sigmoid"}, {Form::kIpo, "ipo"}, {Form::kHinge, "hinge"}};
  return kWords;
}

struct DpoKeys {
  double beta = 0.1;
  Form loss = Form::kSigmoid;
  double label_smoothing = 0;
  bool reference_free = false;
};

/// With r = log(p / reference p) of an answer and h = r of the chosen - r of the rejected one:
///   sigmoid  (1 - smoothing) softplus(-beta h) + smoothing softplus(beta h)
///   ipo      (h' - 1 / (2 beta))^2, h' the same of means over an answer's tokens
///   hinge    max(0, 1 - beta h)
/// The reward of an answer is beta r. Without a reference, the reference's p are 1.
struct DpoFormula {
  DpoKeys keys;

  template <class T>
  PairTerms<T> operator()(const AnswerPair<T>& pair) const {
    const T& chosen = keys.reference_free ? pair.chosen_logp : pair.chosen_ratio;
    const T& rejected = keys.reference_free ? pair.rejected_logp : pair.rejected_ratio;
    return {loss(chosen, rejected, pair), chosen * keys.beta, rejected * keys.beta};
  }

 private:
  template <class T>
  T loss(const T& chosen, const T& rejected, const AnswerPair<T>& pair) const {
    if (keys.loss == Form::kIpo) {
      const T off =
          chosen / pair.chosen_tokens - rejected / pair.rejected_tokens - 1 / (2 * keys.beta);
      return off * off;
    }
    const T h = (chosen - rejected) * keys.beta;
    if (keys.loss == Form::kHinge) return relu(1.0 - h);
    return smoothed_loss(h, keys.label_smoothing);
  }
};

struct DpoConfig final : ObjectiveConfig {
  DpoKeys keys;

  void fields(config::Fields& f) override {
    f("beta", keys.beta, "how dear it is to move away from the reference").above(0);
    f("loss", keys.loss, "sigmoid, DPO's own; ipo; hinge");
    f("label_smoothing", keys.label_smoothing,
      "the share of pairs whose answers are taken to be in the wrong order")
        .at_least(0)
        .below(0.5);
    f("reference_free", keys.reference_free,
      "whether answers are compared without the model that the run begins with");
  }
  void validate(config::Problems& p) const override {
    if (keys.label_smoothing > 0 && keys.loss != Form::kSigmoid)
      p.add("label_smoothing",
            cat(p.name("label_smoothing"), " is not read with ", p.name("loss"), " = ",
                quote(config::word_of(keys.loss))),
            {"loss"})
          .hint("leave it out, or write loss = \"sigmoid\"");
  }
  std::unique_ptr<const Objective> make(const ObjectiveOptions&) const override {
    return preference_objective(DpoFormula{keys}, needs_reference());
  }
  bool learns_pairs() const override { return true; }
  bool needs_reference() const override { return !keys.reference_free; }
};

}  // namespace

extern const ObjectiveEntry dpo_entry;
const ObjectiveEntry dpo_entry = {
    .name = "dpo",
    .summary =
        "the chosen answer more likely than the rejected one, measured from the model that "
        "the run begins with",
    .make_config = config::make_choice<DpoConfig>};

}  // namespace levanter::models::objectives

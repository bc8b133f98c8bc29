// The keys that every optimizer has: the learning rate's course and the weight decay.
#include "optim/optimizer_config.h"

#include <cmath>
#include <string_view>
#include <utility>

#include "base/strings.h"
#include "config/problems.h"
#include "optim/optimizer.h"

namespace levanter {

void OptimizerConfig::fields(config::Fields& f) {
  f("learning_rate", learning_rate, "the peak of the learning rate").at_least(0);
  f("weight_decay", weight_decay,
    "each step takes this times the learning rate off a decayed parameter, relatively")
      .at_least(0);
  f("min_lr_ratio", min_lr_ratio, "where the decay ends, relative to learning_rate")
      .at_least(0)
      .at_most(1);
  f("warmup", warmup,
    "length of the linear rise: a fraction of the first cycle up to 1, steps above 1; what does "
    "not "
    "fit is cut")
      .at_least(0);
  f("decay", decay,
    "length of the decay at a cycle's end, counted as warmup is; by default all after the warm-up, "
    "and what lies between is constant")
      .at_least(0);
  f("rewarmup", rewarmup, "warmup of the cycles after the first").at_least(0);
  f("cycle_length", cycle_length,
    "length of every cycle, counted as warmup is, the last one taking the rest; or a list of "
    "lengths")
      .above(0);
  f("cycles", cycles, "number of equal cycles, or a list of the steps at which cycles end")
      .at_least(1);
  f("lr_schedule", lr_schedule, "shape of the decay");
  f("decay_roles", decay_roles, "which parameters are decayed, by their role")
      .one_of({"weight", "bias", "norm", "embedding"});
  f("update_rms_clipping", update_rms_clipping,
    "the update of a parameter, its decay included, is scaled down to this root mean square before "
    "it is multiplied by the learning rate; by default it is not")
      .above(0);
  f("ema", ema, "keeps a running mean of the weights, which is evaluated and exported beside them");
  f("groups", groups,
    "parameters that are trained otherwise than the rest: with another optimizer, rate or decay, "
    "or not at all");
  f.dropped("clip_update_norm", "write update_rms_clipping, which clips each parameter's update");
  f.dropped("skip_bad_steps", "write trainer.guard.on_spike = \"skip\"");
  f.dropped("cooldown", "write decay");
  f.dropped("stable_lr_schedule", "what lies between warmup and decay is constant");
  f.dropped("haps", "write cycles = [...]");
  f.dropped({"weight_decay_modules", "default_weight_decay_mask"},
            "write decay_roles = [...], the roles of parameters, or groups = [...] by their paths");
  own_fields(f);
  f("max_grad_norm", max_grad_norm,
    "the gradient of all parameters together is scaled down to this norm; \"none\" does not clip")
      .above(0);
}

void EmaConfig::fields(config::Fields& f) {
  f("decay", decay, "what stays of the mean in a step").at_least(0).below(1);
}

namespace {

/// Faults a length above 1 that is no whole number of steps.
void check_length(config::Problems& p, std::string_view key, double length) {
  if (length <= 1 || length == std::floor(length)) return;
  p.add(key, cat(p.name(key), " = ", length, " is neither a fraction nor a whole number of steps"))
      .allowed("a fraction from 0 to 1, or a whole number of steps above 1")
      .hint("1 means the whole cycle");
}

/// Faults groups whose optimizer keeps a mean of its own beside that of `ema`.
void check_means(config::Problems& p, const std::vector<ParameterGroup>& groups) {
  for (size_t i = 0; i < groups.size(); ++i)
    for (const optim::OptimizerEntry* entry : optim::entries()) {
      if (!entry->averages || groups[i].type != entry->name) continue;
      const std::string key = cat("groups[", i, "].type");
      p.add(key,
            cat(p.name(key), " = ", quote(entry->name), " keeps a mean of its own beside ",
                p.name("ema")),
            {"ema"})
          .hint("remove one of them: evaluations and exports take one mean");
    }
}

}  // namespace

void OptimizerConfig::validate(config::Problems& p) const {
  config::Fields numbers;
  const_cast<OptimizerConfig*>(this)->fields(numbers);  // which only lists where they are
  optim::check_f32(p, numbers.list());
  check_length(p, "warmup", warmup);
  check_length(p, "rewarmup", rewarmup);
  if (decay) check_length(p, "decay", *decay);
  if (ema) check_means(p, groups);
  for (size_t i = 0; i < cycle_length.values.size(); ++i)
    check_length(p, cycle_length.listed ? cat("cycle_length[", i, "]") : "cycle_length",
                 cycle_length.values[i]);
  if (!cycles.values.empty() && !cycle_length.values.empty())
    p.add("cycle_length",
          cat(p.name("cycles"), " and ", p.name("cycle_length"), " both say where cycles end"),
          {"cycles"})
        .hint("keep one of them");
  for (size_t i = 1; i < cycles.values.size(); ++i) {
    if (cycles.values[i] > cycles.values[i - 1]) continue;
    p.add(cat("cycles[", i, "]"), cat(p.name(cat("cycles[", i, "]")), " = ", cycles.values[i],
                                      " does not come after ", cycles.values[i - 1]))
        .allowed("steps in increasing order");
  }
}

std::string OptimizerConfig::name_hint(std::string_view name) {
  static constexpr std::pair<std::string_view, const char*> kOthers[] = {
      {"adamw", "write \"adam\": its decay is decoupled"},
      {"adamc", "write \"adam\" with adamc_weight_decay = true"},
      {"cautious", "write \"adam\" with cautious = true"},
      {"nadam", "write \"adam\" with nesterov = true"},
      {"sophia-h", "write \"sophia\", which is Sophia-G"},
      {"sophia-g", "write \"sophia\""},
      {"schedule-free", "write \"schedule_free\""},
      {"psgd", "write \"kron\""},
  };
  for (const auto& [other, hint] : kOthers)
    if (name == other) return hint;
  return "";
}

std::span<const config::ChoiceEntry> OptimizerConfig::choices() {
  static const auto kChoices = config::choices_of(optim::entries());
  return kChoices;
}

}  // namespace levanter

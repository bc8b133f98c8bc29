// The keys of trainer.watch, trainer.sample and trainer.profile: what people look at a run by.
#include <algorithm>

#include "base/strings.h"
#include "optim/groups.h"
#include "train/config/profile_text.h"
#include "train/config/train_config.h"

namespace levanter {

namespace {

constexpr int64_t kMostSteps = 1000;  // that a trace has

}  // namespace

std::span<const config::Word<WatchKind>> words_of(WatchKind) {
  static constexpr config::Word<WatchKind> kWords[] = {{WatchKind::kGradNorm, "grad_norm"},
                                                       {WatchKind::kParamNorm, "param_norm"},
                                                       {WatchKind::kUpdateRatio, "update_ratio"},
                                                       {WatchKind::kHistogram, "histogram"},
                                                       {WatchKind::kAttention, "attention"}};
  return kWords;
}

void WatchConfig::fields(config::Fields& f) {
  f("every", every, "steps between two looks; by default there is none")
      .at_least(1)
      .unit("steps")
      .may_change();
  f("what", what,
    "the norm of a parameter's gradient before it is clipped, its own norm, that of its update by "
    "its own, and how the values of it and of its gradient are spread; of a layer's attention the "
    "mean entropy and the largest logit")
      .may_change();
  f("match", match,
    "a regular expression that is looked for in the paths of parameters and of modules of "
    "attention; by default all are measured")
      .may_change();
  f.dropped("interval", "write every");
  f.dropped("watch_targets", "write what: it names measures, of gradients and of parameters");
  f.dropped({"include_norms", "include_per_parameter_norms"},
            "write what = [\"grad_norm\", \"param_norm\"]");
  f.dropped("include_histograms", "write what = [\"histogram\"]");
  f.dropped("split_scan_layers", "remove it: each layer has parameters of its own");
}

void WatchConfig::validate(config::Problems& p) const {
  try {
    const optim::Pattern compiled(match);
  } catch (const Error& error) {
    p.add("match", error.message()).hint(error.hint());
  }
  if (!what.empty()) return;
  std::vector<std::string> words;
  for (const auto& word : words_of(WatchKind())) words.emplace_back(word.text);
  p.add("what", cat(p.name("what"), " = [] measures nothing"))
      .allowed(join(words, ", "))
      .hint(cat("remove ", p.name("every"), " to measure nothing"));
}

bool WatchConfig::has(WatchKind kind) const {
  return every && std::find(what.begin(), what.end(), kind) != what.end();
}

void SampleConfig::fields(config::Fields& f) {
  f("every", every, "steps between two times; by default there is none")
      .at_least(1)
      .unit("steps")
      .may_change();
  f("prompts", prompts, "texts that it is to continue; \"\" is the beginning of a text")
      .may_change();
  f("max_new_tokens", max_new_tokens, "tokens of each continuation at most")
      .at_least(1)
      .at_most(1e6)
      .unit("tokens")
      .may_change();
  f("temperature", temperature, "0: always the most probable token")
      .at_least(0)
      .at_most(1e6)
      .may_change();
  f("seed", seed, "of the draws, the same at each time").at_least(0).may_change();
}

void SampleConfig::validate(config::Problems& p) const {
  if (prompts.empty())
    p.add("prompts", cat(p.name("prompts"), " = [] has nothing to continue"))
        .hint("\"\" is the beginning of a text");
}

void ProfileConfig::fields(config::Fields& f) {
  f("steps", steps, "the first step and the last one, counted from 1; by default there is none")
      .at_least(1)
      .at_most(1e12)
      .may_change();
  f.dropped({"enabled", "start_step", "num_steps", "perfetto_link", "create_perfetto_trace"},
            "write steps = [6, 30] for steps 6 to 30");
}

std::string steps_text(const ProfileConfig& profile) {
  std::vector<std::string> numbers;
  for (const int64_t step : profile.steps) numbers.push_back(cat(step));
  return cat("[", join(numbers, ", "), "]");
}

void ProfileConfig::validate(config::Problems& p) const {
  if (steps.empty()) return;
  const bool pair = steps.size() == 2 && steps[0] <= steps[1];
  if (pair && steps[1] - steps[0] < kMostSteps) return;
  p.add("steps", cat(p.name("steps"), " = ", steps_text(*this),
                     pair ? " are too many for one trace" : " is not a first and a last step"))
      .allowed(cat("[first, last], at most ", kMostSteps, " steps"));
}

}  // namespace levanter

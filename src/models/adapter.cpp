// What all kinds of adapters share: which modules they adapt, and their settings in PEFT's words.
#include "models/adapter.h"

#include <algorithm>

#include "base/error.h"
#include "base/strings.h"
#include "config/problems.h"
#include "optim/groups.h"

namespace levanter {

namespace {

constexpr std::string_view kAllLinear = "all_linear", kTheirAllLinear = "all-linear";

/// Found in a path that it matches as a whole.
optim::Pattern whole(const std::string& expression) {
  return optim::Pattern(cat("\\A(?:", expression, ")\\z"));
}

}  // namespace

std::span<const config::ChoiceEntry> AdapterConfig::choices() {
  static const std::vector<config::ChoiceEntry> kChoices =
      config::choices_of(models::adapters::entries());
  return kChoices;
}

void AdapterConfig::fields(config::Fields& f) {
  f("target_modules", target_modules,
    "the modules that are adapted: \"all_linear\" for all that multiply by a matrix but the head; "
    "a regular expression of a module's whole path; or a list of their names, each the path or "
    "its last parts");
  f("path", path, "a PEFT folder that the adapter begins with; by default it is drawn")
      .may_change();
}

void AdapterConfig::validate(config::Problems& p) const {
  if (target_modules.values.empty())
    p.add("target_modules", cat(p.name("target_modules"), " names no module"))
        .allowed("all_linear");
  if (target_modules.listed || target_modules.values.empty()) return;
  try {
    const optim::Pattern alone(target_modules.values[0]);
  } catch (const Error& error) {
    p.add("target_modules", cat(p.name("target_modules"), ": ", error.message()))
        .hint(error.hint());
  }
}

void AdapterConfig::hf_keys(compat::HfConfig& hf) {
  const bool writes = hf.writes();
  if (writes ? !target_modules.listed : hf.is_text("target_modules")) {
    if (target_modules.values.size() != 1) target_modules.values.resize(1);
    hf("target_modules", target_modules.values[0]);
    target_modules.listed = false;
  } else {
    hf("target_modules", target_modules.values);
    target_modules.listed = true;
  }
  if (writes) return;
  hf.ignore({"base_model_name_or_path", "revision", "task_type", "inference_mode", "auto_mapping",
             "peft_version", "layers_pattern"});
  for (const char* key : {"rank_pattern", "alpha_pattern"})
    hf.neutral(key, "{}", "modules have ranks and scales of their own");
  for (const char* key : {"modules_to_save", "layers_to_transform", "target_parameters",
                          "exclude_modules", "trainable_token_indices", "layer_replication"})
    hf.neutral(key, "[]", "other parameters than all its modules' are the adapter's");
}

bool AdapterConfig::is_all_linear() const {
  if (target_modules.listed) return false;
  const std::string& said = target_modules.values[0];
  return said == kAllLinear || said == kTheirAllLinear;
}

bool AdapterConfig::targets(const std::string& module) const {
  if (is_all_linear()) return true;
  if (!target_modules.listed) return whole(target_modules.values[0]).found_in(module);
  return std::any_of(
      target_modules.values.begin(), target_modules.values.end(),
      [&](const std::string& name) { return module == name || module.ends_with(cat(".", name)); });
}

}  // namespace levanter

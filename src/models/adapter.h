// Adapters by name: what a config says of one, and its form in a PEFT folder.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "compat/hf_config.h"
#include "config/fields.h"
#include "nn/adapter.h"

namespace levanter {

/// Base of the configs that `adapter.type` chooses.
struct AdapterConfig : config::Choosable, nn::Adapter {
  config::OneOrMany<std::string> target_modules{{"all_linear"}, false};
  std::optional<config::Path> path;  ///< a PEFT folder that it begins with

  /// The keys above; an adapter's own `fields` calls it first.
  void fields(config::Fields& f) override;
  void validate(config::Problems& p) const override;
  /// The settings of an adapter_config.json, all of them: what is not taken is refused.
  virtual void hf_keys(compat::HfConfig& hf);

  /// Whether target_modules means the module of that path: as PEFT, one text is a regular
  /// expression of the whole path or the word "all_linear", texts in a list are its last parts.
  bool targets(const std::string& module) const;
  bool is_all_linear() const;
  /// A setting in which another adapter of this kind computes something else with the same
  /// parameters, "alpha is 8 and there 16"; "" for none.
  virtual std::string difference(const AdapterConfig& there) const = 0;

  static std::span<const config::ChoiceEntry> choices();
  static constexpr const char* kDefaultChoice = "lora";
};

namespace models {

/// One kind of adapter: src/models/adapters/<name>.cpp defines `<name>_entry`.
struct AdapterEntry {
  const char* name;
  const char* summary;
  std::unique_ptr<config::Choosable> (*make_config)();
  const char* peft_type;  ///< what an adapter_config.json calls it
};

namespace adapters {
std::span<const AdapterEntry* const> entries();
}  // namespace adapters

}  // namespace models
}  // namespace levanter

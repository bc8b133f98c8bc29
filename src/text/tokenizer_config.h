// What every tokenizer's configuration has; src/text/<name>.cpp holds the kinds.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "config/fields.h"

namespace levanter {

/// Base of the configs that `data.tokenizer` chooses.
struct TokenizerConfig : config::Choosable {
  void fields(config::Fields&) override {}
  /// The size of the vocabulary where the config alone decides it.
  virtual std::optional<int64_t> vocab_size() const { return std::nullopt; }

  /// The kinds that a config can name: those of text::entries().
  static std::span<const config::ChoiceEntry> choices();
  static constexpr const char* kDefaultChoice = "bytes";
  /// For a path, or a name that others look up on a network.
  static std::string name_hint(std::string_view name);
};

}  // namespace levanter

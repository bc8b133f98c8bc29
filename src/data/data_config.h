// Configuration of the data: tokenizer, texts, and how they are cut and shuffled.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "config/fields.h"

namespace levanter {

/// Base of the configs that `data.tokenizer` chooses.
struct TokenizerConfig : config::Choosable {
  void fields(config::Fields&) override {}
  /// The size of the vocabulary where the config alone decides it.
  virtual std::optional<int64_t> vocab_size() const { return std::nullopt; }

  static std::span<const config::ChoiceEntry> choices();
  static constexpr const char* kDefaultChoice = "bytes";
};

/// One token a byte, 256 in all.
struct BytesTokenizerConfig final : TokenizerConfig {
  std::optional<int64_t> vocab_size() const override { return 256; }
};

/// One token a character of the training text, in the order of their code points.
struct CharTokenizerConfig final : TokenizerConfig {};

/// One source of text.
struct ComponentConfig {
  std::vector<config::Path> train;
  std::vector<config::Path> validation;
  std::optional<double> validation_fraction;

  void fields(config::Fields& f);
  void validate(config::Problems& p) const;
};

struct DataConfig {
  config::Choice<TokenizerConfig> tokenizer;
  std::map<std::string, ComponentConfig> components;
  bool shuffle = true;
  int64_t prefetch = 4;

  void fields(config::Fields& f);
  void validate(config::Problems& p) const;
};

}  // namespace levanter

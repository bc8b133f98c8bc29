// Configuration of the data: tokenizer, texts, and how they are cut and shuffled.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "config/fields.h"
#include "text/tokenizer_config.h"

namespace levanter {

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
};

}  // namespace levanter

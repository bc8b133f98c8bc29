// What a config.json leaves out, and what it says that changes nothing here.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "compat/hf_config.h"

namespace levanter::models {

/// Lays under the file what Transformers takes for the keys that a family's file lacks.
void take_hf_defaults(compat::HfConfig& hf, std::string_view hf_type);

/// Takes the keys that change nothing of what a model computes, once its family has taken its own:
/// marks of the programs that wrote the file, settings of generation, and values that are neutral.
/// returns the settings that matter in training alone and that are not implemented, "KEY = VALUE"
std::vector<std::string> take_harmless_keys(compat::HfConfig& hf);

}  // namespace levanter::models

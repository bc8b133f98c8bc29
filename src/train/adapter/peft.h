// Adapters as PEFT keeps them: a folder with adapter_config.json and adapter_model.safetensors.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "compat/hf_folder.h"
#include "device/tensor.h"
#include "models/adapter.h"
#include "nn/scope.h"

namespace levanter::train {

inline constexpr char kPeftConfig[] = "adapter_config.json";
inline constexpr char kPeftWeights[] = "adapter_model.safetensors";

/// Whether the folder holds an adapter_config.json.
bool is_peft_folder(const std::string& folder);

/// What the folder's settings say.
/// error  kCheckpoint naming a setting that is not supported
config::Choice<AdapterConfig> read_peft_config(const std::string& folder);

/// Fills the adapter's parameters from the folder.
/// returns the params_hash of the model that it was trained on, where the folder says it, else ""
/// error   kCheckpoint naming the tensors that are missing, of another shape or not wanted
std::string load_peft(const std::string& folder, std::span<const Tensor> targets);

/// An adapter to be written.
struct PeftSource {
  config::Choice<AdapterConfig> config;
  std::vector<std::string> modules;  ///< the last parts of the paths of those that it adapts
  bool in_out = false;               ///< whether their matrices have the inputs first
  std::string base;                  ///< the folder of the model under it, or ""
  std::string base_hash;             ///< its params_hash
};

/// The name of a parameter in such a folder.
std::string peft_name(const std::string& path);

/// Writes both files into a folder that is there; `tensors` have PEFT's names.
compat::HfWritten write_peft(const std::string& folder, const PeftSource& source,
                             std::span<const compat::HfTensor> tensors);

}  // namespace levanter::train

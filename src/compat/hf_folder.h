// The weights of a model as Hugging Face keeps it: safetensors, in one file or many.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace levanter::compat {

/// A parameter to be read.
struct HfTarget {
  std::string name;  ///< the tensor's, as the family calls it
  std::vector<int64_t> shape;
  float* data = nullptr;
};

/// Reads all of a folder's tensors (model.safetensors, or the shards of
/// model.safetensors.index.json) into place, converted to f32. A name may lack its first part, as
/// in folders of a bare "GPT2Model". Nothing is written unless all fit.
/// error  kCheckpoint naming every tensor that is missing (with the nearest name) or has another
///        shape, those that no target wants, a missing or damaged shard
void load_weights(const std::string& folder, std::span<const HfTarget> targets);

/// Whether the folder holds a config.json.
bool is_hf_folder(const std::string& folder);

}  // namespace levanter::compat

// What a checkpoint holds, and saving one.
//
// A checkpoint is a folder step-N with config.toml, tokenizer.json, model.safetensors,
// optimizer.safetensors and manifest.json; where ranks have parts of the optimizer's state, or of
// the parameters, each writes a file of its own, optimizer-00001-of-00004.safetensors. The manifest
// comes last and makes the folder complete: each file is written under a temporary name, made
// durable and renamed before it. See checkpoint/manifest.h for what it says and checkpoint/load.h
// for reading.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "axes/dtype.h"
#include "base/hash.h"
#include "device/tensor.h"

namespace levanter {

/// Which part of a save a writer makes, where several make one together, each in a thread or a
/// process of its own. The first writes the texts and, once all parts are there, the manifest; each
/// writes the optimizer's tensors that it has, and of the model's, which else are all the first's,
/// if they are in parts too.
struct SavePart {
  int64_t index = 0, count = 1;
  std::string key = {};      ///< what tells this save from all others
  std::string folder = {};   ///< that the first has made for it
  double patience = 600;     ///< seconds that the first waits for another's
  bool parts_model = false;  ///< whether each writes some of the model's tensors
};

/// All that a save needs. The tensors' memory is borrowed: see the function that takes the contents
/// for how long.
struct CheckpointContents {
  int64_t step = 0;         ///< updates done
  std::string config_toml;  ///< the resolved configuration
  std::string config_hash;
  std::string numerics;    ///< the numerics signature
  std::string tokenizer;   ///< the tokenizer's own text
  std::string extra_json;  ///< an object of small things (microbatches, groups, seed), or ""
  std::span<const Tensor> model, optimizer;
  bool permanent = true;   ///< else the next save that commits removes it
  int64_t keep_step = -1;  ///< a temporary checkpoint that this save leaves: the best so far
  SavePart part = {};
};

/// A save that committed.
struct SaveReport {
  int64_t step = 0;
  bool permanent = true;
  std::string folder;   ///< .../step-N
  int64_t bytes = 0;    ///< of all its files
  double seconds = 0;   ///< from its start to its commit
  std::string problem;  ///< a former temporary checkpoint that could not be removed, or ""
};

/// Writes <folder>/step-N and returns when it is durable. A complete checkpoint of the same step is
/// replaced at once: at every moment one of the two is there. Former temporary checkpoints are then
/// removed. On an Error of kind kIo (full disk, no permission) the partial folder is gone and every
/// former checkpoint is as it was.
SaveReport save_checkpoint(const std::string& folder, const CheckpointContents& contents);

/// xxh3-128 in canonical hexadecimal over the parameters' elements as little-endian f32, parameters
/// sorted bytewise by path. f64 is rounded to f32, bf16 widened; i8 counts as the bytes that it is.
std::string params_hash(std::span<const Tensor> parameters);

/// Adds one parameter's elements to such a hash.
void hash_parameter(Hasher& hasher, const Tensor& parameter);

}  // namespace levanter

// The weights of a model as Hugging Face keeps it: safetensors, in one file or many.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <numeric>
#include <span>
#include <string>
#include <vector>

#include "base/progress.h"
#include "compat/safetensors.h"

namespace levanter::compat {

/// A parameter to be read.
struct HfTarget {
  std::string name;  ///< the tensor's, as the family calls it
  std::vector<int64_t> shape;
  float* data = nullptr;  ///< null: it must be there, and is not read
  /// Rows that the tensor may have instead, if fewer: the others become the mean of those. 0: none.
  int64_t fewer_rows = 0;

  int64_t elements() const {
    return std::accumulate(shape.begin(), shape.end(), int64_t{1}, std::multiplies<>());
  }
};

/// All of a folder's tensors, in open files: model.safetensors, or the shards of
/// model.safetensors.index.json.
class HfWeights final {
 public:
  /// error  kCheckpoint naming a missing or damaged shard, or all in which the index and its shards
  ///        differ
  explicit HfWeights(std::string folder);

  /// The tensor of each target. A name may lack its first part, as in folders of a bare
  /// "GPT2Model", and a tied embedding may be there as the head alone.
  /// error  kCheckpoint naming every tensor that is missing (with the nearest name), has another
  ///        shape or no floating elements, and those that no target wants
  std::vector<const safetensors::Tensor*> match(std::span<const HfTarget> targets) const;
  /// Compares every tensor with its checksum, where its file has one, on all threads.
  /// error  kCheckpoint naming file and tensor
  void check() const;
  /// Reads all tensors that have one into place, converted to f32, on all threads. Nothing is
  /// written unless all fit and have the checksums that their files name. error  as match and
  /// check; kCheckpoint naming a tensor that is not finite
  void load(std::span<const HfTarget> targets, const ProgressReport& progress = {}) const;
  /// Reads elements of a tensor that `match` has found, from the `first` on, converted to f32, as
  /// load does; the caller has compared all with their checksums. For any number of threads at a
  /// time. error  kCheckpoint for one that is not finite
  void read(const safetensors::Tensor& tensor, int64_t first, std::span<float> room) const;
  /// What people should know of a folder that this program exported and in which somebody, or a
  /// disk, changed or removed another file of the folder: "DIR: tokenizer.json changed since the
  /// export"; "" for others.
  std::string changed() const;
  /// Whether the folder has an output layer that is not its embedding: the model is then untied,
  /// whatever its config.json says, as in Transformers.
  bool has_own_head() const;
  const std::string& folder() const { return folder_; }

 private:
  void open_shards(const std::string& index);

  std::string folder_;
  std::vector<safetensors::File> files_;
  std::map<std::string, const safetensors::Tensor*> tensors_;
};

/// The mean of a tensor's rows, each number summed in f64.
std::vector<float> mean_row(const safetensors::Tensor& tensor);

/// HfWeights::has_own_head of a folder that is read for its config: false too where it holds no
/// weights, or damaged ones.
bool has_own_head(const std::string& folder);

/// HfWeights::changed of a folder that is read for its tokenizer: "" too where it holds no weights,
/// or damaged ones.
std::string changed_since_export(const std::string& folder);

/// A tensor to be written.
struct HfTensor {
  safetensors::Entry entry;  ///< of f32, bf16 or f16
  /// Its elements, in memory of their owner or put into `room`.
  std::function<std::span<const float>(std::vector<float>& room)> values;
};

/// What the file is called where there is one alone, and more texts for its header.
struct WeightsFile {
  std::string name = "model.safetensors";
  std::map<std::string, std::string> metadata = {};
};

/// Bytes and files that were written.
struct HfWritten {
  int64_t bytes = 0, files = 0;
};

/// Writes model.safetensors, or where that would be longer than `max_shard_bytes` shards of at most
/// that (or one tensor) and their index. Their headers say each tensor's checksum.
/// error  kCheckpoint for a number that its element type cannot hold; errors as AtomicFile
HfWritten save_weights(const std::string& folder, std::span<const HfTensor> tensors,
                       int64_t max_shard_bytes, const WeightsFile& file = {},
                       const ProgressReport& progress = {});

/// Whether the folder holds a config.json.
bool is_hf_folder(const std::string& folder);

}  // namespace levanter::compat

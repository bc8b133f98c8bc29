// manifest.json: what a checkpoint is, where each part of each tensor stands, and all checksums.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "axes/dtype.h"

namespace levanter {

/// A box of a tensor, stored as C-order bytes in one place of one file.
struct SliceRecord {
  std::string file;    ///< a plain name in the checkpoint's folder
  int64_t offset = 0;  ///< of the first byte in the file
  int64_t bytes = 0;
  std::vector<int64_t> start, extent;  ///< of the box, one number an axis
  uint64_t xxh3 = 0;                   ///< of the bytes
};

/// A tensor: slices of any partition into disjoint boxes, by any number of writers.
struct TensorRecord {
  DType dtype = DType::f32;
  std::vector<int64_t> shape;
  std::vector<SliceRecord> slices;

  int64_t elements() const;
  int64_t bytes() const { return elements() * size_of(dtype); }
  /// True for a parameter of the model: it stands in a file named model*.
  bool in_model() const;
};

/// A file of the checkpoint. The checksum covers its first `hashed` bytes: all of a text, the
/// header of a safetensors file, whose other bytes the slices cover.
struct FileRecord {
  int64_t bytes = 0;
  int64_t hashed = 0;
  uint64_t xxh3 = 0;
};

struct Manifest {
  static constexpr int64_t kFormat = 1;

  int64_t step = 0;
  bool permanent = true;
  std::string config_hash, numerics;
  std::string extra_json = "{}";
  std::map<std::string, FileRecord> files;
  std::map<std::string, TensorRecord> tensors;

  /// The manifest's text. Its last key seals it: the xxh3 of everything before that key.
  std::string text() const;

  /// Whose slices it has: all, or those of one writer of several.
  enum class Of : uint8_t { kCheckpoint, kPart };
  /// Reads a manifest's text. An Error of kind kCheckpoint, naming `path` as its place, for a text
  /// that is no manifest, is of another format, breaks its seal, has an unknown key, or whose
  /// slices do not tile their tensors; of one writer's part they may leave gaps. A manifest without
  /// a seal (edited by hand) is accepted.
  static Manifest parse(std::string_view text, const std::string& path, Of of = Of::kCheckpoint);
};

inline constexpr std::string_view kManifestFile = "manifest.json";
inline constexpr std::string_view kConfigFile = "config.toml";
inline constexpr std::string_view kTokenizerFile = "tokenizer.json";
inline constexpr std::string_view kModelFile = "model.safetensors";
inline constexpr std::string_view kOptimizerFile = "optimizer.safetensors";
/// The file of tensors of one of several writers, index from 0: "optimizer-00001-of-00004..." in
/// the place of kOptimizerFile, and so of kModelFile.
std::string file_of_part(std::string_view whole, int64_t index, int64_t count);
/// What such a writer says when its file is done, a manifest of it; gone when all are.
std::string part_file(int64_t index);
/// Whether a name is one of these.
bool is_part_name(std::string_view name);

}  // namespace levanter

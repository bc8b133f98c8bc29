// A model as Hugging Face keeps it: a folder with config.json and safetensors, in one file or many.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace levanter::compat {

/// A config.json being read. Every key must be taken or ignored; what is left is an error, so that
/// no setting is lost in silence. Faults are Errors of kind kCheckpoint at "FILE: key".
class HfConfig final {
 public:
  /// error  where there is no such file, or it is no JSON object
  explicit HfConfig(std::string path);
  ~HfConfig();
  HfConfig(HfConfig&&) noexcept;
  HfConfig& operator=(HfConfig&&) noexcept;

  /// A value that must be there.
  int64_t integer(std::string_view key);
  double number(std::string_view key);
  std::string text(std::string_view key);
  /// A value that may be missing or null.
  std::optional<int64_t> optional_integer(std::string_view key);
  double number_or(std::string_view key, double otherwise);
  std::string text_or(std::string_view key, std::string_view otherwise);
  bool flag_or(std::string_view key, bool otherwise);
  /// The object at the key; nothing where it is missing or null.
  std::optional<HfConfig> object(std::string_view key);
  /// Takes a key that may be missing or null and must else have this value, for all else is not
  /// implemented.
  void require(std::string_view key, bool value);
  void require(std::string_view key, double value);
  /// Takes keys that do not change what a trained model computes here.
  void ignore(std::initializer_list<std::string_view> keys);
  /// Throws the error of a value that is not supported.
  [[noreturn]] void refuse(std::string_view key, std::string_view allowed) const;
  /// error  naming the keys that nobody took
  void finish() const;

 private:
  struct Impl;
  explicit HfConfig(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

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

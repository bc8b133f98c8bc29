// A config.json, read and written through one list of keys: what a family says once serves both.
#pragma once

#include <cstdint>
#include <functional>
#include <initializer_list>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

namespace levanter::compat {

/// The settings of a config.json. Reading, every key must be taken or ignored; what is left is an
/// error, so that no setting is lost in silence. Writing, every key that is taken is put instead.
/// Faults are Errors of kind kCheckpoint at "FILE: key".
class HfConfig final {
 public:
  /// One to be written.
  HfConfig();
  /// One to be read.
  /// error  where there is no such file, or it is no JSON object
  explicit HfConfig(std::string path);
  ~HfConfig();
  HfConfig(HfConfig&&) noexcept;
  HfConfig& operator=(HfConfig&&) noexcept;

  bool writes() const;
  /// Whether the file being read has the key, be it null.
  bool has(std::string_view key) const;

  /// A setting that must be there, or that is `otherwise` where the key is missing. T is int64_t,
  /// double, bool, std::string, a vector of int64_t or std::string, or an optional of one of these,
  /// which may be null too.
  template <class T>
  void operator()(std::string_view key, T& value) {
    handle<T>(key, value, nullptr);
  }
  template <class T>
  void operator()(std::string_view key, T& value, const std::type_identity_t<T>& otherwise) {
    handle<T>(key, value, &otherwise);
  }
  /// A setting that Hugging Face calls by the first name of a pair and we by the second; where
  /// several fit, the first pair is written.
  using Names = std::span<const std::pair<const char*, const char*>>;
  void named(std::string_view key, std::string& value, const char* otherwise, Names names);
  /// The object at the key, if there is one; `each` reads or writes its settings.
  void object(std::string_view key, const std::function<void(HfConfig&)>& each);
  /// A key that may be missing or null and must else have this value, for all else is not
  /// implemented. Flags are written; numbers are not, for Transformers 5 tells 1 from 1.0.
  void require(std::string_view key, bool value);
  void require(std::string_view key, double value);
  /// Keys that do not change what a trained model computes here. They are not written.
  void ignore(std::initializer_list<std::string_view> keys);
  /// Throws the error of a value that is not supported.
  [[noreturn]] void refuse(std::string_view key, std::string_view allowed) const;
  /// error  naming the keys that nobody took
  void finish() const;

  /// What was written, as the text of a file.
  std::string text() const;

 private:
  struct Impl;
  explicit HfConfig(std::unique_ptr<Impl> impl);
  template <class T>
  void handle(std::string_view key, T& value, const T* otherwise);
  std::unique_ptr<Impl> impl_;
};

}  // namespace levanter::compat

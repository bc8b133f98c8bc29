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

#include "base/strings.h"

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
  /// Whether the file being read has the key, and not as null or {}.
  bool has(std::string_view key) const;
  /// Whether it has the key, and as a text.
  bool is_text(std::string_view key) const;
  /// What keys that are missing are, a JSON object: they are read as if the file had them.
  void defaults(std::string_view json);

  /// Lets the file say this, a JSON text, whatever it says.
  void assume(std::string_view key, std::string_view value);

  /// A setting that must be there, or that is `otherwise` where the key is missing, or is null. T
  /// is int64_t, double, bool, std::string, a vector of int64_t or std::string, or an optional of
  /// one of these, which null leaves empty.
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
  /// implemented. It is written.
  template <class T>
  void require(std::string_view key, const T& value) {
    std::optional<T> said = value;
    handle<std::optional<T>>(key, said, &said);
    if (said.value_or(value) != value) refuse(key, cat(value));
  }
  /// Keys that do not change what a trained model computes here; "name*" are all that begin so.
  /// They are not written.
  void ignore(std::initializer_list<std::string_view> keys);
  /// A key that changes nothing while it has this value, a JSON text, or lists nothing else, and
  /// that nobody has taken. Another value stays, with `effect` to say in finish() what it would
  /// change.
  /// returns whether the file says so
  bool neutral(std::string_view key, std::string_view value, std::string_view effect);
  /// Takes a key that nobody has taken; its JSON text where it has another value, else "".
  std::string other_than(std::string_view key, std::string_view value);
  /// Throws the error of a value that is not supported.
  [[noreturn]] void refuse(std::string_view key, std::string_view allowed) const;
  /// error  naming the keys that nobody took and that are not null
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

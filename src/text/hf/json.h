// JSON as tokenizer files have it: the small parts as a tree that knows its places.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace levanter::text::hf {

/// A JSON value. What it lacks or has wrong is thrown as an Error of kind kData naming its place.
class Value final {
 public:
  enum class Kind { kNull, kBool, kNumber, kString, kList, kObject };

  Kind kind = Kind::kNull;
  bool boolean = false;
  double number = 0;
  std::string string;
  std::vector<Value> items;       ///< of a list, or the values of an object
  std::vector<std::string> keys;  ///< of an object
  std::string place;              ///< "gpt2/tokenizer.json: pre_tokenizer"

  bool is_null() const { return kind == Kind::kNull; }
  /// The value of a key, null when there is none.
  const Value& operator[](std::string_view key) const;
  /// The field "type" of a component.
  const std::string& type() const { return text("type"); }
  /// A field that must be there.
  const std::string& text(std::string_view key) const;
  const std::vector<Value>& list(std::string_view key) const;
  /// A field that may be absent or null.
  std::string text_or(std::string_view key, std::string_view otherwise) const;
  bool flag(std::string_view key, bool otherwise) const;
  int64_t integer(std::string_view key, int64_t otherwise) const;

  /// Throws the error of a component whose type is unknown.
  ///   what   "normalizer"
  ///   known  the types there are
  [[noreturn]] void throw_unknown(std::string_view what, std::string_view known) const;
  /// Throws that this value is not what it must be.
  [[noreturn]] void throw_wrong(std::string_view key, std::string_view expected) const;
};

/// The tree of a JSON text.
/// error  kData when it is not JSON, naming `origin`
Value parse_json(std::string_view json, const std::string& origin);

}  // namespace levanter::text::hf

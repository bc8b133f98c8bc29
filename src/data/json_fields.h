// The fields of a record of JSON: strings, numbers, messages, each fault with its file and line.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "data/source.h"

namespace levanter::data {

/// A record parsed as a JSON object. Keys are paths with dots: "meta.text" is the key "text" of the
/// object at "meta", unless a key with that dot in it is there. Every fault is an Error of kind
/// kData at FILE:LINE. One object serves many records in turn, one thread at a time.
class JsonFields final {
 public:
  JsonFields();
  ~JsonFields();
  JsonFields(const JsonFields&) = delete;
  JsonFields& operator=(const JsonFields&) = delete;

  /// Takes the record in; what earlier calls returned is no longer valid.
  /// error  when it is cut, no JSON, not UTF-8 (naming the byte), or no object
  void parse(const Record& record);

  /// Whether the key is there and not null.
  bool has(std::string_view key) const;
  /// The string at the key.
  std::string_view string(std::string_view key) const;
  /// The string at the key; nothing when the key is missing or null.
  std::optional<std::string_view> optional_string(std::string_view key) const;
  /// The array of whole numbers at the key, each from `low` to `high`.
  std::vector<int64_t> integers(std::string_view key, int64_t low, int64_t high) const;
  /// The array of numbers at the key.
  std::vector<double> numbers(std::string_view key) const;
  /// The value at the key as JSON text.
  std::string json(std::string_view key) const;
  /// The array of messages at the key as JSON text: objects, at least one, each with a string
  /// "role".
  std::string messages(std::string_view key) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace levanter::data

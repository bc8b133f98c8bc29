// The fields of a record of JSON: strings, numbers, messages, each fault with its file and line.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "data/files/source.h"

namespace levanter::data {

/// What becomes of text that has no UTF-8: broken bytes, and halves of surrogate pairs.
enum class BrokenText {
  kReplace,  ///< U+FFFD, and counted
  kRefuse,   ///< an error
};

/// The keys that messages have in a file, and what roles are called there.
struct MessageKeys {
  std::string role = "role", content = "content";
  std::map<std::string, std::string> roles = {};  ///< a role's word to what templates call it
  /// The word of the role whose content is calls of functions: {"name": ..., "arguments": ...}, a
  /// list of these, or the JSON text of either; "" for none.
  std::string calls = "";

  bool operator==(const MessageKeys&) const = default;
};

/// A message of a chat.
struct Message {
  std::string role;  ///< as templates call it
  std::string json;  ///< an object, compact
};
/// A message that says a text.
Message message_of(std::string_view role, std::string_view content);
/// The messages as a JSON list.
std::string list_of(std::span<const Message> messages);

/// A record parsed as a JSON object, as Python reads it: of two equal keys the last one counts, and
/// a number that has no place in 64 bits, such as NaN, is a fault only where it is read; in JSON
/// texts it stands as json/mend.h says. Keys are
/// paths with dots: "meta.text" is the key "text" of the object at "meta", unless a key with that
/// dot in it is there. Every fault is an Error of kind kData at FILE:LINE. One object serves many
/// records in turn, one thread at a time.
class JsonFields final {
 public:
  explicit JsonFields(BrokenText broken = BrokenText::kReplace);
  ~JsonFields();
  JsonFields(const JsonFields&) = delete;
  JsonFields& operator=(const JsonFields&) = delete;

  /// Takes the record in; what earlier calls returned is no longer valid.
  /// error  when it is cut, no JSON, no object, or not UTF-8 (naming the byte) under kRefuse
  void parse(const Record& record);
  /// Pieces of text that were replaced in all records so far.
  int64_t replaced() const;

  /// Whether the key is there and not null.
  bool has(std::string_view key) const;
  /// The string at the key.
  std::string_view string(std::string_view key) const;
  /// The string at the key; nothing when the key is missing or null.
  std::optional<std::string_view> optional_string(std::string_view key) const;
  /// The array of whole numbers at the key, each from `low` to `high`.
  std::vector<int64_t> integers(std::string_view key, int64_t low, int64_t high) const;
  /// The array of numbers at the key; true is 1 and false 0.
  std::vector<double> numbers(std::string_view key) const;
  /// The value at the key as JSON text.
  std::string json(std::string_view key) const;
  /// The list at the key as JSON text, whether it stands there as a list or as the JSON text of
  /// one; each item is an object. "" where the key is missing, null or a blank text.
  std::string optional_list(std::string_view key) const;
  /// The same of an object.
  std::string optional_object(std::string_view key) const;
  /// Whether the value is a list, or the JSON text of one of objects with "role" and "content".
  /// error  for what is neither a list nor a text
  bool is_chat(std::string_view key) const;
  /// The messages at the key, or in the JSON text there: objects, at least one, each with a string
  /// "role". Their keys and roles are renamed as `keys` says.
  std::vector<Message> messages(std::string_view key, const MessageKeys& keys = {}) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace levanter::data

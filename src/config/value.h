// A configuration value as it was written, with the place where it stands.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "config/problems.h"

namespace levanter::config {

/// A TOML value. Tables keep the order in which their keys were written.
struct Value {
  enum class Kind {
    kBool,
    kInteger,
    kNumber,  ///< a TOML float
    kString,
    kDate,  ///< a TOML date or time, kept as text
    kArray,
    kTable,
    kRaw,  ///< an override's text, which its field decides how to read
  };
  struct Member;

  Kind kind = Kind::kTable;
  Source at;
  bool boolean = false;
  int64_t integer = 0;
  double number = 0;
  std::string text;             ///< of kString, kDate and kRaw
  std::vector<Value> items;     ///< of kArray; of kRaw: the value it stands over, if any
  std::vector<Member> members;  ///< of kTable

  const Member* find(std::string_view key) const;
  Member* find(std::string_view key);
  /// The value as TOML on one line, cut to about `limit` characters (0: whole).
  std::string print(size_t limit = 0) const;
  /// "an integer", "a string", ...
  std::string_view kind_name() const;
};

struct Value::Member {
  std::string key;
  Source key_at;
  Value value;
};

/// Turns a string, the short form of a choice, into its long one: "char" to { type = "char" }. Any
/// other value stays.
void name_choice(Value& value);

/// Merges `over` into `under`: tables merge key by key (a string below a table counts as the short
/// form of a choice), anything else is replaced.
void merge(Value& under, Value over);

/// A key as TOML writes it: bare where it can be, else quoted.
std::string print_key(std::string_view key);
/// A float as TOML writes it, so that it reads as a float again: 1 is "1.0".
std::string print_number(double value);

}  // namespace levanter::config

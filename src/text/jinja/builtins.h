// What a template's operators, filters, tests and methods do.
#pragma once

#include <algorithm>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "text/jinja/evaluator.h"
#include "text/jinja/strings.h"
#include "text/jinja/value.h"

namespace levanter::text::jinja {

/// A filter, a test, a method or a function as it is called: what it works on and is given.
class Call final {
 public:
  /// signature  what errors call it and its parameters, "find(sub, start)"; any others may be given
  ///            where "..." is the last
  /// group      what errors say before that, "the filter"
  /// error      Fault for an argument that is not among the parameters
  Call(Evaluator& evaluator, const Value& self, const Arguments& given, std::string_view group,
       std::string_view signature);

  Evaluator& evaluator;
  const Value& self;  ///< the value before "|", "is" or "."
  const Arguments& given;

  /// The argument for a parameter; nullptr when it was not given.
  const Value* find(std::string_view parameter) const;
  /// The argument, which must be given.
  const Value& need(std::string_view parameter) const;
  Value get(std::string_view parameter, Value other = Value::none()) const;
  /// The whole number or the str given, or `other`; needed where there is none.
  int64_t whole(std::string_view parameter, std::optional<int64_t> other = {}) const;
  std::string text(std::string_view parameter, std::optional<std::string_view> other = {}) const;
  /// The str that a value must be.
  const std::string& as_text(const Value& value) const;
  /// Ends the call unless the value is what it `wants`, such as "a number".
  void check(bool fits, const Value& value, std::string_view wants) const;

 private:
  std::string what() const;

  std::string_view group_, name_, list_;
  Pieces parameters_;
};

/// A row of the tables of filters, tests, methods and functions.
template <class Result>
struct Builtin {
  std::string_view names[8];
  std::string_view signature;  ///< as Call has it
  Result (*apply)(const Call&);
};

/// The row of that name; nullptr when there is none.
template <class Table>
auto find_builtin(const Table& table, std::string_view name) {
  const auto* found = std::find_if(std::begin(table), std::end(table), [&](const auto& row) {
    const auto* end = std::find(std::begin(row.names), std::end(row.names), "");
    return std::find(std::begin(row.names), end, name) != end;
  });
  return found == std::end(table) ? nullptr : found;
}
/// All names of a table that are words, sorted.
template <class Table>
std::vector<std::string> names_of(const Table& table) {
  std::vector<std::string> names;
  for (const auto& row : table)
    for (const std::string_view name : row.names)
      if (!name.empty() && name[0] >= 'a') names.emplace_back(name);
  std::sort(names.begin(), names.end());
  return names;
}
/// A table's row as a value that can be called.
Value bound(const Value& self, std::string_view name, const Builtin<Value>& builtin);

/// A filter and a method that make one text of another.
template <std::string (*change)(std::string_view)>
Value changed(const Call& call) {
  return Value::string(change(to_text(call.self)));
}
/// The texts of the items, as `text` gives each, with `between` between them.
template <class Text>
Value join_items(const Value& items, std::string_view between, Text&& text) {
  std::string out;
  bool first = true;
  for (const Value& item : iterate(items)) {
    if (!std::exchange(first, false)) out += between;
    out += text(item);
    Budget::spend(1);
    check_text_size(out.size());
  }
  return Value::string(std::move(out));
}
/// A dict's entries, each a tuple of key and value.
List pairs_of(const Dict& dict);

/// a op b for + - * / // % ** ~; error Fault for types that don't go together.
Value arithmetic(std::string_view op, const Value& a, const Value& b);
Value negate(const Value& value);

/// value.name: a method, else the item of that name; undefined when there is neither.
Value get_attribute(const Value& value, const std::string& name);
/// value[key]; undefined when it is not there.
Value get_item(const Value& value, const Value& key);
/// value[start:stop:step], none where not given.
Value get_slice(const Value& value, const Value& start, const Value& stop, const Value& step);
/// The value at a dotted path of names and numbers, as the filters' `attribute` gives it; `other`,
/// where there is one, stands for each part that is missing.
Value get_path(const Value& value, const Value& path, const Value* other = nullptr);

/// The method of a str, list, tuple or dict; undefined when it has none of that name.
Value find_method(const Value& value, const std::string& name);

Value apply_filter(Evaluator& evaluator, const std::string& name, const Value& input,
                   const Arguments& arguments);
bool apply_test(Evaluator& evaluator, const std::string& name, const Value& input,
                const Arguments& arguments);

/// The functions that every template can call, by their names.
Dict global_functions();

/// Python's text % values; str.format.
std::string format_percent(const std::string& text, const Value& values);
std::string format_braces(const std::string& text, const Arguments& arguments);

struct JsonStyle {
  int indent = -1;  ///< below 0 for one line
  bool ascii = false, sort_keys = false;
  std::string item_separator = ", ", key_separator = ": ";
};
/// Python's json.dumps.
std::string to_json(const Value& value, const JsonStyle& style);
/// The value that a JSON text describes.
/// error  Fault when it is no JSON
Value from_json(std::string_view json);

}  // namespace levanter::text::jinja

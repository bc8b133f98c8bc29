// What a template's operators, filters, tests and methods do.
#pragma once

#include <string>
#include <string_view>

#include "text/jinja/evaluator.h"
#include "text/jinja/value.h"

namespace levanter::text::jinja {

/// a op b for + - * / // % ** ~; error Fault for types that don't go together.
Value arithmetic(Evaluator& evaluator, std::string_view op, const Value& a, const Value& b);
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

/// Python's text % values; str.format.
std::string format_percent(const std::string& text, const Value& values);
std::string format_braces(const std::string& text, const Arguments& arguments);

/// Python's json.dumps with ensure_ascii=False; `indent` below 0 for one line.
std::string to_json(const Value& value, int indent, bool ascii, bool sort_keys,
                    std::string_view item_separator, std::string_view key_separator);
/// The value that a JSON text describes.
/// error  Fault when it is no JSON
Value from_json(std::string_view json);

}  // namespace levanter::text::jinja

// Arithmetic, items and slices, as Python does them.
#include <cmath>

#include "text/jinja/builtins.h"

namespace levanter::text::jinja {
namespace {

[[noreturn]] void refuse(std::string_view op, const Value& a, const Value& b) {
  need_defined(a);
  need_defined(b);
  const bool text = a.is(Kind::kString) != b.is(Kind::kString);
  throw Fault{cat("'", op, "' can't join ", type_name(a), " and ", type_name(b)), "",
              text && op == "+" ? "~ joins texts with any value" : ""};
}

Value whole_power(int64_t base, int64_t exponent) {
  if (exponent < 0) {
    if (base == 0) fail("0 can't be raised to a negative power");
    return Value::real(std::pow(static_cast<double>(base), static_cast<double>(exponent)));
  }
  int64_t result = 1;
  if (base == 0 || base == 1) return Value::integer(exponent == 0 ? 1 : base);
  if (base == -1) return Value::integer(exponent % 2 == 0 ? 1 : -1);
  for (; exponent > 0; --exponent)
    if (__builtin_mul_overflow(result, base, &result)) fail("a whole number grows beyond 64 bits");
  return Value::integer(result);
}

Value whole_arithmetic(std::string_view op, int64_t a, int64_t b) {
  if (op == "**") return whole_power(a, b);
  if (b == 0 && (op[0] == '/' || op == "%")) fail("division by zero");
  if (op == "/") return Value::real(static_cast<double>(a) / static_cast<double>(b));
  __int128 out = a;  // holds whatever two of 64 bits make
  if (op == "+") out += b;
  if (op == "-") out -= b;
  if (op == "*") out *= b;
  if (op == "//" || op == "%") {
    const int64_t rest = b == -1 ? 0 : a % b;
    const bool down = rest != 0 && (rest < 0) != (b < 0);
    out = op == "%" ? rest + (down ? b : 0) : out / b - down;
  }
  if (out != static_cast<int64_t>(out)) fail("a whole number grows beyond 64 bits");
  return Value::integer(static_cast<int64_t>(out));
}

Value real_arithmetic(std::string_view op, double a, double b) {
  if (op == "+") return Value::real(a + b);
  if (op == "-") return Value::real(a - b);
  if (op == "*") return Value::real(a * b);
  if (op == "**") return Value::real(std::pow(a, b));
  if (b == 0) fail("division by zero");
  if (op == "/") return Value::real(a / b);
  if (op == "//") return Value::real(std::floor(a / b));
  const double rest = std::fmod(a, b);
  return Value::real(rest != 0 && (rest < 0) != (b < 0) ? rest + b : rest);
}

Value joined(const Value& a, const Value& b) {
  List items = a.items();
  items.insert(items.end(), b.items().begin(), b.items().end());
  return Value::sequence(a.kind(), std::move(items));
}

Value repeated(const Value& value, int64_t times) {
  if (value.is(Kind::kString)) return Value::string(repeat(value.as_string(), times));
  List items;
  for (int64_t i = 0; i < times && !value.items().empty(); ++i) {
    Budget::spend(value.items().size());
    Budget::check(2 * items.size() * sizeof(Value));
    items.insert(items.end(), value.items().begin(), value.items().end());
  }
  return Value::sequence(value.kind(), std::move(items));
}

bool repeats(const Value& a, const Value& b) {
  return (a.is(Kind::kString) || a.is_sequence()) && b.is_whole();
}

/// Python's slice.indices: a bound of a slice over `size` items.
int64_t slice_bound(const Value& bound, int64_t size, int64_t step, int64_t other) {
  if (bound.is(Kind::kNone)) return other;
  if (!bound.is_whole()) fail("a slice needs whole numbers, not ", type_name(bound));
  int64_t at = bound.as_int();
  if (at < 0) at = std::max<int64_t>(at + size, step < 0 ? -1 : 0);
  return std::min(at, step < 0 ? size - 1 : size);
}

}  // namespace

Value arithmetic(std::string_view op, const Value& a, const Value& b) {
  if (op == "~" || (op == "+" && a.is(Kind::kString) && b.is(Kind::kString))) {
    std::string text = to_text(a);
    text += b.is(Kind::kString) ? b.as_string() : to_text(b);
    return Value::string(std::move(text));
  }
  if (a.is_number() && b.is_number()) {
    if (a.is_whole() && b.is_whole()) return whole_arithmetic(op, a.as_int(), b.as_int());
    return real_arithmetic(op, a.as_real(), b.as_real());
  }
  if (op == "+" && a.is_sequence() && a.kind() == b.kind()) return joined(a, b);
  if (op == "*" && repeats(a, b)) return repeated(a, b.as_int());
  if (op == "*" && repeats(b, a)) return repeated(b, a.as_int());
  if (op == "%" && a.is(Kind::kString)) return Value::string(format_percent(a.as_string(), b));
  refuse(op, a, b);
}

Value negate(const Value& value) {
  if (value.is(Kind::kFloat)) return Value::real(-value.as_real());
  if (value.is_whole()) return whole_arithmetic("-", 0, value.as_int());
  fail("a value of type ", type_name(need_defined(value)), " has no sign");
}

Value get_item(const Value& value, const Value& key) {
  if (value.is(Kind::kUndefined))
    throw Fault{value.why_undefined(), "", "test it before: {% if x is defined %}"};
  if (value.is(Kind::kDict))
    if (const Value* found = value.as_dict().find(key)) return *found;
  const bool is_text = value.is(Kind::kString);
  if ((is_text || value.is_sequence()) && key.is_whole()) {
    const int64_t size = length(value);
    const int64_t index = key.as_int() < 0 ? key.as_int() + size : key.as_int();
    if (index >= 0 && index < size) {
      if (!is_text) return value.items()[static_cast<size_t>(index)];
      const std::string_view text = value.as_string();
      const std::string_view rest = text.substr(byte_of_character(text, index));
      return Value::string(rest.substr(0, byte_of_character(rest, 1)));
    }
  }
  if (key.is(Kind::kString)) {
    const bool fields = value.is(Kind::kNamespace) || value.is(Kind::kLoop);
    const Value found =
        fields ? get_attribute(value, key.as_string()) : find_method(value, key.as_string());
    if (!found.is(Kind::kUndefined)) return found;
  }
  return Value::undefined(cat("a value of type ", type_name(value), " has no item ", to_repr(key)));
}

Value get_slice(const Value& value, const Value& start, const Value& stop, const Value& step) {
  if (!need_defined(value).is_sequence() && !value.is(Kind::kString))
    fail("a value of type ", type_name(value), " has no slices");
  int64_t by = step.is(Kind::kNone) ? 1 : 0;
  if (step.is_whole()) by = step.as_int();
  if (by == 0) fail("the step of a slice must be a whole number other than 0");
  const int64_t size = length(value);
  const int64_t from = slice_bound(start, size, by, by < 0 ? size - 1 : 0);
  const int64_t to = slice_bound(stop, size, by, by < 0 ? -1 : size);
  if (value.is(Kind::kString) && by == 1) {
    const std::string& text = value.as_string();
    const size_t begin = byte_of_character(text, from);
    return Value::string(from >= to ? "" : text.substr(begin, byte_of_character(text, to) - begin));
  }
  const List all = iterate(value);
  List items;
  for (int64_t i = from; by > 0 ? i < to : i > to;) {
    items.push_back(all[static_cast<size_t>(i)]);
    if (__builtin_add_overflow(i, by, &i)) break;
  }
  if (value.is_sequence()) return Value::sequence(value.kind(), std::move(items));
  std::string text;
  for (const Value& one : items) text += one.as_string();
  return Value::string(std::move(text));
}

Value get_path(const Value& value, const Value& path, const Value* other) {
  if (path.is_whole()) return get_item(value, path);
  if (!path.is(Kind::kString))
    fail("an attribute is a name, not a value of type ", type_name(path));
  Value at = value;
  for (const std::string& part : split(path.as_string(), '.')) {
    int64_t index = 0;
    at = get_item(at, read_number(part, index) ? Value::integer(index) : Value::string(part));
    if (at.is(Kind::kUndefined) && other != nullptr) at = *other;
  }
  return at;
}

}  // namespace levanter::text::jinja

// A template's values as text: Python's str and repr, and JSON, which is read as well.
#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdio>

#include <simdjson.h>

#include "json/mend.h"
#include "text/jinja/builtins.h"
#include "text/jinja/strings.h"

namespace levanter::text::jinja {
namespace {

/// Python's repr of a float: 1.0, 0.1, 1e-05, 1e+16.
std::string real_text(double value) {
  if (std::isnan(value)) return "nan";
  const double size = std::abs(value);
  const bool fixed = size == 0 || (size >= 1e-4 && size < 1e16);
  const auto format = fixed ? std::chars_format::fixed : std::chars_format::scientific;
  char buffer[40];
  std::string out(buffer, std::to_chars(buffer, buffer + sizeof buffer, value, format).ptr);
  return fixed && out.find('.') == std::string::npos ? out + ".0" : out;
}

/// Writes values as Python's repr, or as its json.dumps where there is a style.
class Printer final {
 public:
  explicit Printer(const JsonStyle* json) : json_(json), style_(json ? *json : JsonStyle()) {}

  void write(const Value& value, int level) {
    if (level > 2 * kMaxValueDepth) fail("a value that holds itself can't be printed");
    check_text_size(out_.size());
    Budget::spend(1);
    if (value.is(Kind::kString)) {
      write_string(value.as_string());
    } else if (value.is_sequence()) {
      const auto write_one = [&](const Value& item) { write(item, level + 1); };
      const std::string_view tuple_end = value.items().size() == 1 ? ",)" : ")";
      if (json_ || value.is(Kind::kList))
        write_items('[', value.items(), "]", level, write_one);
      else
        write_items('(', value.items(), tuple_end, level, write_one);
    } else if (value.is(Kind::kDict)) {
      write_dict(value.as_dict(), level);
    } else if (json_) {
      write_json(value);
    } else if (value.is(Kind::kNamespace)) {
      out_ += "<Namespace ";
      write_dict(value.as_namespace(), level);
      out_ += '>';
    } else {
      out_ += value.is(Kind::kUndefined) ? "Undefined" : to_text(value);
    }
  }
  std::string print(const Value& value) {
    write(value, 0);
    return std::move(out_);
  }

 private:
  template <class Items, class WriteItem>
  void write_items(char open, const Items& items, std::string_view close, int level,
                   WriteItem&& write_item) {
    out_ += open;
    bool first = true;
    for (const auto& item : items) {
      if (!std::exchange(first, false)) out_ += style_.item_separator;
      new_line(level + 1);
      write_item(item);
    }
    if (!first) new_line(level);
    out_ += close;
  }

  void new_line(int level) {
    if (style_.indent >= 0)
      out_.append(1, '\n').append(static_cast<size_t>(style_.indent * level), ' ');
  }

  void write_dict(const Dict& dict, int level) {
    auto entries = dict.entries;
    if (style_.sort_keys)
      std::stable_sort(entries.begin(), entries.end(), [](const auto& a, const auto& b) {
        return compare(a.first, b.first, "<") < 0;
      });
    write_items('{', entries, "}", level, [&](const auto& entry) {
      write_key(entry.first, level + 1);
      out_ += style_.key_separator;
      write(entry.second, level + 1);
    });
  }

  void write_key(const Value& key, int level) {
    if (!json_ || key.is(Kind::kString)) return write(key, level);
    if (!key.is_number() && !key.is(Kind::kNone))
      fail("tojson can't write a key of type ", type_name(key));
    out_ += '"';
    write_json(key);
    out_ += '"';
  }

  /// What JSON writes in other words than Python.
  void write_json(const Value& value) {
    if (value.is(Kind::kUndefined))
      fail("tojson can't write an undefined value: ", value.why_undefined());
    if (!value.is_number() && !value.is(Kind::kNone))
      fail("tojson can't write a value of type ", type_name(value));
    if (value.is(Kind::kNone)) {
      out_ += "null";
    } else if (value.is(Kind::kBool)) {
      out_ += value.as_bool() ? "true" : "false";
    } else if (!value.is(Kind::kFloat) || std::isfinite(value.as_real())) {
      out_ += to_text(value);
    } else if (std::isnan(value.as_real())) {
      out_ += "NaN";
    } else {
      out_ += value.as_real() > 0 ? "Infinity" : "-Infinity";
    }
  }

  void write_escape(const char* format, uint32_t unit) {
    char escape[16];
    out_.append(escape, static_cast<size_t>(std::snprintf(escape, sizeof escape, format, unit)));
  }

  void write_string(std::string_view text) {
    const bool twice = text.find('\'') != text.npos && text.find('"') == text.npos;
    const char mark = json_ || twice ? '"' : '\'';
    const std::string plain = cat("\\\n\r\t", mark, json_ ? "\b\f" : "");
    const std::string names = cat("\\nrt", mark, json_ ? "bf" : "");
    out_ += mark;
    each_character(text, [&](uint32_t c, std::string_view bytes) {
      const size_t found = c < 0x80 ? plain.find(static_cast<char>(c)) : plain.npos;
      if (found != plain.npos) {
        out_ += {'\\', names[found]};
      } else if (json_ ? c >= 0x20 && (c < 0x7F || !style_.ascii)
                       : is_kind(c, CharacterKind::kPrintable)) {
        out_ += bytes;
      } else if (json_ && c >= 0x10000) {
        write_escape("\\u%04x", 0xD7C0 + (c >> 10));
        write_escape("\\u%04x", 0xDC00 + (c & 0x3FF));
      } else if (json_ || (c >= 0x100 && c < 0x10000)) {
        write_escape("\\u%04x", c);
      } else {
        write_escape(c < 0x100 ? "\\x%02x" : "\\U%08x", c);
      }
    });
    out_ += mark;
  }

  const JsonStyle* json_;
  JsonStyle style_;
  std::string out_;
};

using simdjson::dom::element_type;

Value convert(simdjson::dom::element element) {
  switch (element.type()) {
    case element_type::NULL_VALUE:
      return Value::none();
    case element_type::BOOL:
      return Value::boolean(bool(element));
    case element_type::INT64:
      return Value::integer(int64_t(element));
    case element_type::UINT64:
      return Value::string(cat(kOddNumber, uint64_t(element)));
    case element_type::DOUBLE:
      return Value::real(double(element));
    case element_type::STRING: {
      const auto odd = odd_number(std::string_view(element));
      if (odd && !odd->is_whole) return Value::real(odd->value);
      return Value::string(std::string_view(element));
    }
    case element_type::ARRAY: {
      List items;
      for (const auto item : simdjson::dom::array(element)) items.push_back(convert(item));
      return Value::list(std::move(items));
    }
    default: {
      Dict dict;
      for (const auto field : simdjson::dom::object(element))
        dict.set(Value::string(field.key), convert(field.value));
      return Value::dict(std::move(dict));
    }
  }
}

}  // namespace

std::string to_text(const Value& value) {
  if (value.is(Kind::kUndefined)) return "";
  if (value.is(Kind::kNone)) return "None";
  if (value.is(Kind::kBool)) return value.as_bool() ? "True" : "False";
  if (value.is(Kind::kInt)) return cat(value.as_int());
  if (value.is(Kind::kFloat)) return real_text(value.as_real());
  if (value.is(Kind::kString)) return value.as_string();
  if (value.is(Kind::kFunction)) return cat("<function ", value.as_function().name, ">");
  if (!value.is(Kind::kLoop)) return to_repr(value);
  const LoopState& loop = value.as_loop();
  return cat("<LoopContext ", loop.index + 1, "/", loop.items->size(), ">");
}

std::string to_repr(const Value& value) { return Printer(nullptr).print(value); }

std::string to_json(const Value& value, const JsonStyle& style) {
  return Printer(&style).print(value);
}

Value from_json(std::string_view json) {
  simdjson::dom::parser parser;
  simdjson::dom::element root;
  const auto code = parser.parse(json.data(), json.size(), true).get(root);
  if (code != simdjson::SUCCESS) {
    std::string words = simdjson::error_message(code);
    while (words.ends_with('.')) words.pop_back();
    fail("the variables of a template are not JSON: ", words);
  }
  return convert(root);
}

}  // namespace levanter::text::jinja

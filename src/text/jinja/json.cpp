// JSON to a template's values and back.
#include <algorithm>
#include <cmath>
#include <cstdio>

#include <simdjson.h>

#include "base/strings.h"
#include "text/jinja/builtins.h"
#include "text/jinja/strings.h"
#include "text/utf8.h"

namespace levanter::text::jinja {
namespace {

using Kind = Value::Kind;
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
      throw Fault{cat("the number ", uint64_t(element), " is too large for a template"), "", ""};
    case element_type::DOUBLE:
      return Value::real(double(element));
    case element_type::STRING:
      return Value::string(std::string(std::string_view(element)));
    case element_type::ARRAY: {
      List items;
      for (const auto item : simdjson::dom::array(element)) items.push_back(convert(item));
      return Value::list(std::move(items));
    }
    default: {
      Dict dict;
      for (const auto field : simdjson::dom::object(element))
        dict.set(Value::string(std::string(field.key)), convert(field.value));
      return Value::dict(std::move(dict));
    }
  }
}

struct Writer {
  int indent;
  bool ascii, sort_keys;
  std::string_view item_separator, key_separator;
  std::string out;

  void write_string(std::string_view text) {
    out += '"';
    for (size_t i = 0; i < text.size();) {
      const char c = text[i];
      const auto byte = static_cast<uint8_t>(c);
      constexpr std::string_view kPlain = "\"\\\n\r\t\b\f", kNames = "\"\\nrtbf";
      if (const size_t found = kPlain.find(c); found != std::string_view::npos) {
        out += {'\\', kNames[found]};
      } else if (byte < 0x20) {
        write_unit(byte);
      } else if (ascii && byte >= 0x80) {
        uint32_t scalar = 0;
        const int size = read_scalar(text, i, scalar);
        if (scalar >= 0x10000) {
          write_unit(0xD7C0 + (scalar >> 10));
          write_unit(0xDC00 + (scalar & 0x3FF));
        } else {
          write_unit(size == 0 ? 0xFFFD : scalar);
        }
        i += static_cast<size_t>(std::max(size, 1));
        continue;
      } else {
        out += c;
      }
      ++i;
    }
    out += '"';
  }
  void write_unit(uint32_t unit) {
    char escape[16];
    std::snprintf(escape, sizeof escape, "\\u%04x", unit);
    out += escape;
  }
  void new_line(int level) {
    if (indent < 0) return;
    out += '\n';
    out.append(static_cast<size_t>(indent * level), ' ');
  }
  void write_key(const Value& key) {
    if (key.is(Kind::kString)) return write_string(key.as_string());
    if (!key.is_number() && !key.is(Kind::kNone))
      throw Fault{cat("tojson can't write a key of type ", type_name(key)), "", ""};
    out += '"';
    write(key, 0);
    out += '"';
  }
  void write(const Value& value, int level) {
    check_text_size(out.size());
    switch (value.kind()) {
      case Kind::kNone:
        out += "null";
        break;
      case Kind::kBool:
        out += value.as_bool() ? "true" : "false";
        break;
      case Kind::kInt:
        out += cat(value.as_int());
        break;
      case Kind::kFloat:
        out += std::isnan(value.as_real())   ? "NaN"
               : std::isinf(value.as_real()) ? (value.as_real() > 0 ? "Infinity" : "-Infinity")
                                             : real_text(value.as_real());
        break;
      case Kind::kString:
        write_string(value.as_string());
        break;
      case Kind::kList:
      case Kind::kTuple: {
        out += '[';
        bool first = true;
        for (const Value& item : value.items()) {
          if (!std::exchange(first, false)) out += item_separator;
          new_line(level + 1);
          write(item, level + 1);
        }
        if (!first) new_line(level);
        out += ']';
        break;
      }
      case Kind::kDict: {
        auto entries = value.as_dict().entries;
        if (sort_keys)
          std::stable_sort(entries.begin(), entries.end(), [](const auto& a, const auto& b) {
            return compare(a.first, b.first, "<") < 0;
          });
        out += '{';
        bool first = true;
        for (const auto& [key, item] : entries) {
          if (!std::exchange(first, false)) out += item_separator;
          new_line(level + 1);
          write_key(key);
          out += key_separator;
          write(item, level + 1);
        }
        if (!first) new_line(level);
        out += '}';
        break;
      }
      default:
        throw Fault{value.is(Kind::kUndefined)
                        ? cat("tojson can't write an undefined value: ", value.why_undefined())
                        : cat("tojson can't write a value of type ", type_name(value)),
                    "", ""};
    }
  }
};

}  // namespace

std::string to_json(const Value& value, int indent, bool ascii, bool sort_keys,
                    std::string_view item_separator, std::string_view key_separator) {
  Writer writer{indent, ascii, sort_keys, item_separator, key_separator, ""};
  writer.write(value, 0);
  return std::move(writer.out);
}

Value from_json(std::string_view json) {
  simdjson::dom::parser parser;
  simdjson::dom::element root;
  const auto code = parser.parse(json.data(), json.size(), true).get(root);
  if (code != simdjson::SUCCESS) {
    std::string words = simdjson::error_message(code);
    while (words.ends_with('.')) words.pop_back();
    throw Fault{cat("the variables of a template are not JSON: ", words), "", ""};
  }
  return convert(root);
}

}  // namespace levanter::text::jinja

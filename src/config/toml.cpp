// Reads TOML 1.0 (https://toml.io), by toml++, into values that know their places.
#include "config/toml.h"

#include <algorithm>
#include <sstream>
#include <utility>

#include "base/strings.h"

#define TOML_HEADER_ONLY 0
#include <toml++/toml.h>

namespace levanter::config {

namespace {

Source place(const toml::source_region& region, const std::string& file) {
  return {file, static_cast<int>(region.begin.line), static_cast<int>(region.begin.column)};
}

template <class T>
std::string as_text(const T& value) {
  std::ostringstream out;
  out << value;
  return out.str();
}

constexpr int kMostDepth = 64;

/// Thrown at a value that lies too deep.
struct TooDeep {
  Source at;
};

/// The beginning of the first key of more parts than are allowed, or of what looks like one; npos
/// when there is none. The library follows a key's parts by calling itself.
size_t find_long_key(std::string_view text) {
  size_t begin = 0;
  int parts = 1;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (c == '#') {
      i = std::min(text.find('\n', i), text.size());
    } else if (c == '"' || c == '\'') {
      const std::string_view triple = c == '"' ? "\"\"\"" : "'''";
      const bool lines = text.substr(i).starts_with(triple);
      const std::string_view end = lines ? triple : triple.substr(0, 1);
      for (i += end.size(); i < text.size() && !text.substr(i).starts_with(end); ++i) {
        if (!lines && text[i] == '\n') break;
        if (c == '"' && text[i] == '\\') ++i;
      }
      i += end.size() - 1;
    } else if (c == '.') {
      if (++parts > kMostKeyParts) return begin;
    } else if (std::string_view("=,\n[]{}").find(c) != std::string_view::npos) {
      parts = 1;
      begin = i + 1;
    }
  }
  return std::string_view::npos;
}

std::string long_key_message() { return cat("a key has more than ", kMostKeyParts, " parts"); }
std::string too_deep_message() {
  return cat("tables and lists lie more than ", kMostDepth, " deep in each other");
}

Value convert(const toml::node& node, const std::string& file, int depth);

Value convert_table(const toml::table& table, const std::string& file, int depth) {
  if (depth > kMostDepth) throw TooDeep{place(table.source(), file)};
  Value out;
  for (const auto& [key, node] : table) {
    Value::Member member{std::string(key.str()), place(key.source(), file),
                         convert(node, file, depth + 1)};
    if (member.value.at.line == 0) member.value.at = member.key_at;
    out.members.push_back(std::move(member));
  }
  // The library sorts by name; people expect their own order.
  std::stable_sort(out.members.begin(), out.members.end(),
                   [](const Value::Member& a, const Value::Member& b) {
                     return std::pair(a.key_at.line, a.key_at.column) <
                            std::pair(b.key_at.line, b.key_at.column);
                   });
  return out;
}

Value convert(const toml::node& node, const std::string& file, int depth) {
  if (depth > kMostDepth) throw TooDeep{place(node.source(), file)};
  Value out;
  switch (node.type()) {
    case toml::node_type::table:
      out = convert_table(*node.as_table(), file, depth);
      break;
    case toml::node_type::array:
      out.kind = Value::Kind::kArray;
      for (const toml::node& item : *node.as_array())
        out.items.push_back(convert(item, file, depth + 1));
      break;
    case toml::node_type::string:
      out.kind = Value::Kind::kString;
      out.text = node.as_string()->get();
      break;
    case toml::node_type::integer:
      out.kind = Value::Kind::kInteger;
      out.integer = node.as_integer()->get();
      break;
    case toml::node_type::floating_point:
      out.kind = Value::Kind::kNumber;
      out.number = node.as_floating_point()->get();
      break;
    case toml::node_type::boolean:
      out.kind = Value::Kind::kBool;
      out.boolean = node.as_boolean()->get();
      break;
    default:
      out.kind = Value::Kind::kDate;
      node.visit([&](const auto& dated) {
        if constexpr (toml::is_chronological<decltype(dated)>) out.text = as_text(dated.get());
      });
  }
  out.at = place(node.source(), file);
  return out;
}

/// The library's message with a small first letter and without its prefix.
std::string plain(std::string_view description) {
  static constexpr std::string_view kPrefix = "Error while parsing ";
  if (description.starts_with(kPrefix)) description.remove_prefix(kPrefix.size());
  std::string text(description);
  if (!text.empty() && text[0] >= 'A' && text[0] <= 'Z') text[0] += 'a' - 'A';
  return text;
}

/// What most often is the cause of a fault of syntax.
const char* advice(std::string_view description) {
  const auto has = [&](std::string_view part) {
    return description.find(part) != std::string_view::npos;
  };
  if (has("redefine")) return "a key or a table stands only once in a file; remove one of them";
  if (has("representable")) return "integers go from -2^63 to 2^63 - 1";
  if (has("saw ':'")) return "this looks like YAML; TOML writes key = value below [table]";
  if (has("control characters"))
    return "a string ends on its own line, with the quote it began with";
  if (has("utf-8")) return "TOML files are UTF-8";
  return "the rest of the file was not checked";
}

void put_at(Value& value, const Source& at) {
  value.at = at;
  for (Value& item : value.items) put_at(item, at);
  for (Value::Member& member : value.members) {
    member.key_at = at;
    put_at(member.value, at);
  }
}

}  // namespace

Value parse_toml(std::string_view text, const std::string& file, Problems& problems) {
  Value out;
  out.at = {file, 0, 0};
  if (const size_t begin = find_long_key(text); begin != std::string_view::npos) {
    const auto line = std::count(text.begin(), text.begin() + static_cast<int64_t>(begin), '\n');
    problems.refuse("", {file, static_cast<int>(line) + 1, 1}, long_key_message());
    return out;
  }
  try {
    out = convert_table(toml::parse(text), file, 0);
  } catch (const TooDeep& deep) {
    problems.refuse("", deep.at, too_deep_message());
  } catch (const toml::parse_error& fault) {
    problems
        .refuse("", place(fault.source(), file),
                cat("this is not TOML: ", plain(fault.description())))
        .hint(advice(fault.description()));
  }
  out.at = {file, 0, 0};
  return out;
}

bool parse_toml_value(std::string_view text, const Source& at, Value& out, std::string& error) {
  if (find_long_key(text) != std::string_view::npos) {
    error = long_key_message();
    return false;
  }
  try {
    const toml::table table = toml::parse(cat("value = ", text));
    if (table.size() != 1) {
      error = "it is more than one value";
      return false;
    }
    out = convert(*table.get("value"), at.file, 0);
  } catch (const TooDeep&) {
    error = too_deep_message();
    return false;
  } catch (const toml::parse_error& fault) {
    error = plain(fault.description());
    return false;
  }
  put_at(out, at);
  return true;
}

}  // namespace levanter::config

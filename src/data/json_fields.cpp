// The fields of a record of JSON: strings, numbers, messages, each fault with its file and line.
#include "data/json_fields.h"

#include <nlohmann/json.hpp>
#include <simdjson.h>

#include "base/error.h"
#include "base/strings.h"
#include "text/utf8.h"

namespace levanter::data {
namespace {

using Element = simdjson::dom::element;
using simdjson::dom::element_type;

/// A value as an error names it: "a string", "an array of 3".
std::string name_of(Element value) {
  switch (value.type()) {
    case element_type::ARRAY:
      return cat("an array of ", simdjson::dom::array(value).size());
    case element_type::OBJECT:
      return "an object";
    case element_type::STRING:
      return "a string";
    case element_type::BOOL:
      return bool(value) ? "true" : "false";
    case element_type::NULL_VALUE:
      return "null";
    default:
      return cat("the number ", std::string(simdjson::minify(value)));
  }
}

std::string keys_of(simdjson::dom::object object) {
  std::string keys;
  int64_t count = 0;
  for (const auto field : object) {
    if (++count > 12) return keys + ", ...";
    keys += cat(count > 1 ? ", " : "", field.key);
  }
  return count == 0 ? "nothing" : keys;
}

/// Where a cut record ends; "" for one that is whole but wrong.
std::string where_cut(std::string_view text) {
  std::string open;
  bool in_string = false;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (in_string) {
      if (c == '\\') ++i;
      if (c == '"') in_string = false;
    } else if (c == '"') {
      in_string = true;
    } else if (c == '{' || c == '[') {
      open += c;
    } else if ((c == '}' || c == ']') && !open.empty()) {
      open.pop_back();
    }
  }
  if (in_string) return "a string";
  return open.empty() ? "" : open.back() == '{' ? "an object" : "an array";
}

std::string excerpt(std::string_view text) {
  constexpr size_t kMost = 40;
  if (text.size() <= kMost) return quote(text);
  size_t from = text.size() - kMost;
  while ((static_cast<uint8_t>(text[from]) & 0xC0) == 0x80) ++from;
  return quote(text.substr(from));
}

/// Throws what is wrong with a record that simdjson refused.
[[noreturn]] void throw_broken(const Record& record, simdjson::error_code code) {
  const size_t broken = text::find_broken_utf8(record.content);
  if (broken < record.content.size())
    throw Error(ErrorKind::kData, cat("the record is not UTF-8: byte ", broken, " of it"))
        .at(record.origin())
        .hint("iconv converts a file; or have broken bytes replaced");
  if (const std::string where = where_cut(record.content); !where.empty())
    throw Error(ErrorKind::kData, cat("the record is cut: it ends inside ", where))
        .at(record.origin())
        .hint(cat("it ends with ", excerpt(record.content)));
  std::string place;
  try {
    const auto parsed = nlohmann::json::parse(record.content.begin(), record.content.end());
  } catch (const nlohmann::json::parse_error& error) {
    const size_t end = std::min(error.byte, record.content.size());
    place = cat(" at byte ", error.byte, ", behind ", excerpt(record.content.substr(0, end)));
  } catch (const nlohmann::json::exception&) {
    place.clear();  // simdjson's words have to do
  }
  std::string words = simdjson::error_message(code);
  while (words.ends_with('.')) words.pop_back();
  if (place.empty()) place = cat(": ", words);
  throw Error(ErrorKind::kData, cat("the record is not JSON", place))
      .at(record.origin())
      .hint("each record must be one JSON object");
}

}  // namespace

struct JsonFields::Impl {
  simdjson::dom::parser parser;
  simdjson::dom::object root;
  std::string origin;

  /// Where the search for a path ended: at the value, or at the object `in` that lacks `key`.
  struct Found {
    std::optional<Element> value;
    simdjson::dom::object in;
    std::string_view key;
  };
  Found find(std::string_view path) const {
    Found found{std::nullopt, root, path};
    for (;;) {
      Element value;
      if (found.in.at_key(found.key).get(value) == simdjson::SUCCESS) {
        found.value = value;
        return found;
      }
      const size_t dot = found.key.find('.');
      if (dot == std::string_view::npos) return found;
      simdjson::dom::object inner;
      if (found.in.at_key(found.key.substr(0, dot)).get(inner) != simdjson::SUCCESS) {
        found.key = found.key.substr(0, dot);
        return found;
      }
      found.in = inner;
      found.key.remove_prefix(dot + 1);
    }
  }

  Element need(std::string_view key) const {
    const auto [value, in, missing] = find(key);
    if (value) return *value;
    const auto begin = static_cast<size_t>(missing.data() - key.data());
    Element wrong;
    if (in.at_key(missing).get(wrong) == simdjson::SUCCESS)  // a path through what is no object
      refuse(key.substr(0, begin + missing.size()), wrong, "an object");
    std::vector<std::string> names;
    for (const auto field : in) names.emplace_back(field.key);
    const std::string near = nearest(missing, names);
    const std::string where = begin == 0 ? "" : cat(" in ", quote(key.substr(0, begin - 1)));
    throw Error(ErrorKind::kData, cat("no key ", quote(missing), where, "; it has ", keys_of(in)))
        .at(origin)
        .hint(near.empty() ? "name the key that holds it in the config"
                           : cat("did you mean ", quote(near)));
  }

  [[noreturn]] void refuse(std::string_view key, Element found, std::string_view wanted) const {
    throw Error(ErrorKind::kData, cat(quote(key), " is ", name_of(found), ", not ", wanted))
        .at(origin);
  }

  /// A value as a T; `wanted` names what that is.
  template <class T>
  T as(std::string_view key, Element value, std::string_view wanted) const {
    T out;
    if (value.get(out) != simdjson::SUCCESS) refuse(key, value, wanted);
    return out;
  }
  simdjson::dom::array array(std::string_view key, std::string_view wanted) const {
    return as<simdjson::dom::array>(key, need(key), wanted);
  }
  /// The numbers of an array, each of which check(number, index) has let pass.
  template <class T, class Check>
  std::vector<T> numbers(std::string_view key, std::string_view wanted, Check check) const {
    std::vector<T> out;
    for (const Element value : array(key, cat("an array of ", wanted, "s"))) {
      T number = 0;
      if (value.get(number) != simdjson::SUCCESS)
        refuse(cat(key, "[", out.size(), "]"), value, cat("a ", wanted));
      check(number, out.size());
      out.push_back(number);
    }
    return out;
  }
};

JsonFields::JsonFields() : impl_(std::make_unique<Impl>()) {}
JsonFields::~JsonFields() = default;

void JsonFields::parse(const Record& record) {
  impl_->origin = record.origin();
  Element root;
  const auto code =
      impl_->parser.parse(record.content.data(), record.content.size(), true).get(root);
  if (code == simdjson::MEMALLOC)
    throw Error(ErrorKind::kDevice, "no memory is left to parse the record").at(impl_->origin);
  if (code != simdjson::SUCCESS) throw_broken(record, code);
  if (root.get(impl_->root) != simdjson::SUCCESS)
    throw Error(ErrorKind::kData, cat("the record is ", name_of(root), ", not an object"))
        .at(impl_->origin);
}

bool JsonFields::has(std::string_view key) const {
  const auto value = impl_->find(key).value;
  return value && !value->is_null();
}

std::string_view JsonFields::string(std::string_view key) const {
  return impl_->as<std::string_view>(key, impl_->need(key), "a string");
}

std::optional<std::string_view> JsonFields::optional_string(std::string_view key) const {
  if (!has(key)) return std::nullopt;
  return string(key);
}

std::vector<int64_t> JsonFields::integers(std::string_view key, int64_t low, int64_t high) const {
  return impl_->numbers<int64_t>(key, "whole number", [&](int64_t number, size_t i) {
    if (number < low || number > high)
      throw Error(ErrorKind::kData, cat("\"", key, "[", i, "]\" is the number ", number))
          .at(impl_->origin)
          .allowed(cat(low, " to ", high));
  });
}

std::vector<double> JsonFields::numbers(std::string_view key) const {
  return impl_->numbers<double>(key, "number", [](double, size_t) {});
}

std::string JsonFields::json(std::string_view key) const {
  return simdjson::minify(impl_->need(key));
}

std::string JsonFields::messages(std::string_view key) const {
  const simdjson::dom::array messages = impl_->array(key, "an array of messages");
  int64_t count = 0;
  for (const Element message : messages) {
    const std::string place = cat(key, "[", count++, "]");
    simdjson::dom::object fields;
    if (message.get(fields) != simdjson::SUCCESS) impl_->refuse(place, message, "an object");
    Element role;
    if (fields.at_key("role").get(role) != simdjson::SUCCESS)
      throw Error(ErrorKind::kData, cat(quote(place), " has no \"role\"; it has ", keys_of(fields)))
          .at(impl_->origin);
    if (!role.is_string()) impl_->refuse(cat(place, ".role"), role, "a string");
  }
  if (count == 0)
    throw Error(ErrorKind::kData, cat(quote(key), " is a chat without a message"))
        .at(impl_->origin);
  return simdjson::minify(messages);
}

}  // namespace levanter::data

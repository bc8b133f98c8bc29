// JSON as tokenizer files have it: the small parts as a tree that knows its places.
#include "text/hf/json.h"

#include <nlohmann/json.hpp>

#include "base/file_kind.h"
#include "json/mend.h"
#include "base/strings.h"

namespace levanter::text::hf {
namespace {

using Json = nlohmann::ordered_json;

Value tree_of(const Json& json, std::string place) {
  Value value;
  switch (json.type()) {
    case Json::value_t::object:
      value.kind = Value::Kind::kObject;
      for (const auto& [key, item] : json.items()) {
        value.keys.push_back(key);
        value.items.push_back(tree_of(item, cat(place, place.ends_with(": ") ? "" : ".", key)));
      }
      break;
    case Json::value_t::array:
      value.kind = Value::Kind::kList;
      for (const Json& item : json)
        value.items.push_back(tree_of(item, cat(place, "[", value.items.size(), "]")));
      break;
    case Json::value_t::string:
      value.kind = Value::Kind::kString;
      value.string = json.get<std::string>();
      break;
    case Json::value_t::boolean:
      value.kind = Value::Kind::kBool;
      value.boolean = json.get<bool>();
      break;
    case Json::value_t::number_integer:
    case Json::value_t::number_unsigned:
    case Json::value_t::number_float:
      value.kind = Value::Kind::kNumber;
      value.number = json.get<double>();
      break;
    default:
      break;
  }
  value.place = std::move(place);
  return value;
}

}  // namespace

Value parse_json(std::string_view json, const std::string& origin) {
  constexpr int kMaxDepth = 1000;
  const bool deep = json_depth(json) > kMaxDepth;
  const Json root = deep ? Json() : parse_in_order_as_python(json);
  if (!deep && root.is_discarded()) refuse_stand_in(ErrorKind::kData, json, origin);
  if (deep || root.is_discarded())
    throw Error(ErrorKind::kData, deep ? "the JSON nests too deeply" : "the file is no JSON")
        .at(origin)
        .hint("fetch the file again; python -m json.tool FILE shows where it breaks");
  return tree_of(root, cat(origin, ": "));
}

const Value& Value::operator[](std::string_view key) const {
  static const Value kNothing;
  for (size_t i = 0; i < keys.size(); ++i)
    if (keys[i] == key) return items[i];
  return kNothing;
}

const std::string& Value::text(std::string_view key) const {
  const Value& value = (*this)[key];
  if (value.kind != Kind::kString) throw_wrong(key, "a text");
  return value.string;
}

const std::vector<Value>& Value::list(std::string_view key) const {
  const Value& value = (*this)[key];
  if (value.kind != Kind::kList) throw_wrong(key, "a list");
  return value.items;
}

std::string Value::text_or(std::string_view key, std::string_view otherwise) const {
  return (*this)[key].is_null() ? std::string(otherwise) : text(key);
}

bool Value::flag(std::string_view key, bool otherwise) const {
  const Value& value = (*this)[key];
  if (value.is_null()) return otherwise;
  if (value.kind != Kind::kBool) throw_wrong(key, "true or false");
  return value.boolean;
}

int64_t Value::integer(std::string_view key, int64_t otherwise) const {
  const Value& value = (*this)[key];
  if (value.is_null()) return otherwise;
  if (value.kind != Kind::kNumber || value.number < 0 || value.number > 1e15)
    throw_wrong(key, "a whole number");
  return static_cast<int64_t>(value.number);
}

void Value::throw_unknown(std::string_view what, std::string_view known) const {
  throw Error(ErrorKind::kData, cat("the tokenizer has a ", what, " of an unknown type, ",
                                    quote(text_or("type", "(none)"))))
      .at(place)
      .allowed(std::string(known));
}

void Value::throw_wrong(std::string_view key, std::string_view expected) const {
  const std::string_view file = place.ends_with(": ")  // the whole of it
                                    ? std::string_view(place).substr(0, place.size() - 2)
                                    : place;
  throw Error(ErrorKind::kData, cat(quote(key),
                                    " of the tokenizer file is missing or of the wrong "
                                    "form"))
      .at(std::string(file))
      .allowed(std::string(expected));
}

}  // namespace levanter::text::hf

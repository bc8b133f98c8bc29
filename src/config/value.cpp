// Configuration values: members by name, merging, and how a value is written.
#include "config/value.h"

#include <algorithm>
#include <unordered_map>
#include <utility>

#include "base/strings.h"

namespace levanter::config {

const Value::Member* Value::find(std::string_view key) const {
  const auto found =
      std::find_if(members.begin(), members.end(), [&](const Member& m) { return m.key == key; });
  return found == members.end() ? nullptr : &*found;
}

Value::Member* Value::find(std::string_view key) {
  return const_cast<Member*>(std::as_const(*this).find(key));
}

std::string print_key(std::string_view key) {
  const auto bare = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '-';
  };
  if (!key.empty() && std::all_of(key.begin(), key.end(), bare)) return std::string(key);
  return quote(key);
}

std::string print_number(double value) {
  std::string text = format_number(value);
  if (text.find_first_not_of("-0123456789") == std::string::npos) text += ".0";
  return text;
}

namespace {

std::string print_whole(const Value& value) {
  switch (value.kind) {
    case Value::Kind::kBool:
      return value.boolean ? "true" : "false";
    case Value::Kind::kInteger:
      return cat(value.integer);
    case Value::Kind::kNumber:
      return print_number(value.number);
    case Value::Kind::kString:
      return quote(value.text);
    case Value::Kind::kDate:
    case Value::Kind::kRaw:
      return value.text;
    case Value::Kind::kArray: {
      std::vector<std::string> parts;
      for (const Value& item : value.items) parts.push_back(print_whole(item));
      return cat("[", join(parts, ", "), "]");
    }
    case Value::Kind::kTable: {
      std::vector<std::string> parts;
      for (const Value::Member& m : value.members)
        parts.push_back(cat(print_key(m.key), " = ", print_whole(m.value)));
      return parts.empty() ? "{}" : cat("{ ", join(parts, ", "), " }");
    }
  }
  return "";
}

}  // namespace

std::string Value::print(size_t limit) const {
  std::string whole = print_whole(*this);
  if (limit == 0 || whole.size() <= limit) return whole;
  size_t end = limit;  // never inside a UTF-8 sequence
  while (end > 0 && (static_cast<unsigned char>(whole[end]) & 0xC0) == 0x80) --end;
  return whole.substr(0, end) + "...";
}

std::string_view Value::kind_name() const {
  switch (kind) {
    case Kind::kBool:
      return "a boolean";
    case Kind::kInteger:
      return "an integer";
    case Kind::kNumber:
      return "a float";
    case Kind::kString:
      return "a string";
    case Kind::kDate:
      return "a date or time";
    case Kind::kArray:
      return "an array";
    case Kind::kTable:
      return "a table";
    case Kind::kRaw:
      break;
  }
  return "text";
}

void name_choice(Value& value) {
  if (value.kind != Value::Kind::kString) return;
  Value table;
  table.at = value.at;
  table.members.push_back({"type", value.at, std::move(value)});
  value = std::move(table);
}

void merge(Value& under, Value over) {
  if (over.kind == Value::Kind::kTable) name_choice(under);
  if (under.kind != Value::Kind::kTable || over.kind != Value::Kind::kTable) {
    under = std::move(over);
    return;
  }
  under.at = over.at;
  std::unordered_map<std::string, size_t> places;
  for (size_t i = 0; i < under.members.size(); ++i) places.emplace(under.members[i].key, i);
  for (Value::Member& member : over.members) {
    if (const auto same = places.find(member.key); same != places.end()) {
      under.members[same->second].key_at = member.key_at;
      merge(under.members[same->second].value, std::move(member.value));
    } else {
      under.members.push_back(std::move(member));
    }
  }
}

}  // namespace levanter::config

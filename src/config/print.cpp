// From config structs back to text: TOML, and one line a key for comparing.
#include "config/print.h"

#include <utility>

#include "base/strings.h"

namespace levanter::config {

namespace {

constexpr size_t kColumns = 100;

Value string_value(std::string text) {
  Value out;
  out.kind = Value::Kind::kString;
  out.text = std::move(text);
  return out;
}

/// "900" seconds as "15m": the largest unit that divides, as a config would say it.
std::string print_duration(double seconds) {
  static constexpr std::pair<double, const char*> kUnits[] = {
      {86400, "d"}, {3600, "h"}, {60, "m"}, {1, "s"}};
  for (const auto& [size, unit] : kUnits) {
    const double count = seconds / size;
    if (count >= 1 && count == static_cast<double>(static_cast<int64_t>(count)))
      return cat(static_cast<int64_t>(count), unit);
  }
  return cat(seconds, "s");
}

/// The fields of a struct that is only read.
Fields fields_of(const Type& type, const void* object) {
  Fields fields;
  void* reached = const_cast<void*>(object);  // `fields` only hands out pointers
  if (type.kind == Kind::kChoice)
    static_cast<AnyChoice*>(reached)->value->fields(fields);
  else
    type.fields(reached, fields);
  return fields;
}

/// Whether an absent optional has no text and is left out.
bool left_out(const Type& type, const void* object) {
  if (type.kind != Kind::kOptional || type.size(object) > 0) return false;
  const Kind element = type.element().kind;
  return element == Kind::kString || element == Kind::kWord || element == Kind::kPath;
}

void put(Value& table, std::string key, Value value) {
  Value::Member& member = table.members.emplace_back();
  member.key = std::move(key);
  member.value = std::move(value);
}

Value table_value(const Type& type, const void* object) {
  Value out;
  if (type.kind == Kind::kChoice)
    put(out, "type", string_value(static_cast<const AnyChoice*>(object)->type));
  const Fields fields = fields_of(type, object);
  for (const Field& field : fields.list())
    if (!left_out(*field.type, field.value))
      put(out, field.key, to_value(*field.type, field.value));
  return out;
}

/// An element of a list: of a choice without keys the name alone.
Value element_value(const Type& type, const void* object) {
  Value out = to_value(type, object);
  if (type.kind == Kind::kChoice && out.members.size() == 1) return out.members[0].value;
  return out;
}

Value sequence_value(const Type& type, const void* object) {
  void* reached = const_cast<void*>(object);
  const size_t count = type.size(object);
  if (type.kind == Kind::kOneOrMany && !*type.listed(reached) && count == 1)
    return to_value(type.element(), type.at(reached, 0));
  Value out;
  out.kind = Value::Kind::kArray;
  for (size_t i = 0; i < count; ++i)
    out.items.push_back(element_value(type.element(), type.at(reached, i)));
  return out;
}

}  // namespace

Value to_value(const Type& type, const void* object) {
  Value out;
  switch (type.kind) {
    case Kind::kBool:
      out.kind = Value::Kind::kBool;
      out.boolean = *static_cast<const bool*>(object);
      return out;
    case Kind::kInteger:
      out.kind = Value::Kind::kInteger;
      out.integer = *static_cast<const int64_t*>(object);
      return out;
    case Kind::kNumber:
      out.kind = Value::Kind::kNumber;
      out.number = *static_cast<const double*>(object);
      return out;
    case Kind::kString:
      return string_value(*static_cast<const std::string*>(object));
    case Kind::kWord:
      return string_value(type.word(object));
    case Kind::kPath: {
      const Path& path = *static_cast<const Path*>(object);
      return string_value(path.resolved.empty() ? path.text : path.resolved);
    }
    case Kind::kDuration:
      return string_value(print_duration(static_cast<const Duration*>(object)->seconds));
    case Kind::kOptional:
      if (type.size(object) == 0) return string_value("none");
      return to_value(type.element(), type.at(const_cast<void*>(object), 0));
    case Kind::kList:
    case Kind::kOneOrMany:
      return sequence_value(type, object);
    case Kind::kMap:
      for (size_t i = 0; i < type.size(object); ++i)
        put(out, *type.key(object, i),
            to_value(type.element(), type.at(const_cast<void*>(object), i)));
      return out;
    case Kind::kStruct:
    case Kind::kChoice:
      return table_value(type, object);
  }
  return out;
}

namespace {

/// Whether a table has tables in it.
bool nested(const Value& table) {
  for (const Value::Member& member : table.members)
    if (member.value.kind == Value::Kind::kTable) return true;
  return false;
}

void print_section(const Value& table, const std::string& name, std::string& out) {
  std::string lines;
  std::vector<const Value::Member*> sections;
  for (const Value::Member& member : table.members) {
    const std::string line = cat(print_key(member.key), " = ", member.value.print());
    if (member.value.kind == Value::Kind::kTable &&
        (name.empty() || line.size() > kColumns || nested(member.value)))
      sections.push_back(&member);
    else
      lines += line + "\n";
  }
  if (!name.empty() && (!lines.empty() || sections.empty()))
    out += cat(out.empty() ? "" : "\n", "[", name, "]\n");
  out += lines;
  for (const Value::Member* member : sections) {
    const std::string key = print_key(member->key);
    print_section(member->value, name.empty() ? key : cat(name, ".", key), out);
  }
}

void flatten_into(const Type& type, const void* object, const std::string& path, bool may_change,
                  std::vector<Entry>& out) {
  const auto below = [&](std::string_view key) {
    return path.empty() ? print_key(key) : cat(path, ".", print_key(key));
  };
  if (type.kind == Kind::kMap) {
    for (size_t i = 0; i < type.size(object); ++i)
      flatten_into(type.element(), type.at(const_cast<void*>(object), i),
                   below(*type.key(object, i)), may_change, out);
  } else if (type.kind == Kind::kStruct || type.kind == Kind::kChoice) {
    if (type.kind == Kind::kChoice)
      out.push_back(
          {below("type"), quote(static_cast<const AnyChoice*>(object)->type), may_change});
    const Fields fields = fields_of(type, object);
    for (const Field& field : fields.list())
      flatten_into(*field.type, field.value, below(field.key), may_change || field.is_free, out);
  } else {
    out.push_back({path, to_value(type, object).print(), may_change});
  }
}

}  // namespace

std::string print_document(const Value& table) {
  std::string out;
  print_section(table, "", out);
  return out;
}

std::vector<Entry> flatten(const Type& type, const void* object) {
  std::vector<Entry> out;
  flatten_into(type, object, "", false, out);
  return out;
}

}  // namespace levanter::config

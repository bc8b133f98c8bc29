#include "config/bind.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <utility>

#include "base/files.h"
#include "base/strings.h"
#include "config/describe.h"
#include "config/document.h"

namespace levanter::config {

bool parse_duration(std::string_view text, double& seconds) {
  static constexpr std::pair<std::string_view, double> kUnits[] = {
      {"ms", 1e-3}, {"s", 1}, {"m", 60}, {"h", 3600}, {"d", 86400}};
  double total = 0;
  bool bare = false;
  if (text.empty()) return false;
  while (!text.empty()) {
    double count = 0;
    if (text[0] < '0' || text[0] > '9' || bare) return false;
    const auto [end, fault] =
        std::from_chars(text.data(), text.data() + text.size(), count, std::chars_format::fixed);
    if (fault != std::errc()) return false;
    text.remove_prefix(static_cast<size_t>(end - text.data()));
    const size_t letters = std::min(text.find_first_of("0123456789."), text.size());
    const std::string_view unit = text.substr(0, letters);
    text.remove_prefix(letters);
    const auto* found = std::find_if(std::begin(kUnits), std::end(kUnits),
                                     [&](const auto& u) { return u.first == unit; });
    if (found == std::end(kUnits) && !unit.empty()) return false;
    bare = unit.empty();  // only the last part may lack its unit, and then be the only one
    if (bare && total != 0) return false;
    total += count * (bare ? 1 : found->second);
  }
  seconds = total;
  return true;
}

namespace {

constexpr size_t kShown = 60;  ///< characters of a value that an error shows

std::string_view article_name(Kind kind) {
  switch (kind) {
    case Kind::kBool:
      return "a boolean";
    case Kind::kInteger:
      return "an integer";
    case Kind::kNumber:
      return "a number";
    case Kind::kString:
      return "a string";
    case Kind::kPath:
      return "a path";
    case Kind::kDuration:
      return "a time";
    case Kind::kMap:
    case Kind::kStruct:
      return "a table";
    case Kind::kChoice:
      return "a choice";
    default:
      return "a list";
  }
}

/// One descent through a document.
class Binder final {
 public:
  Binder(const Type& root, Sources& sources, Problems& problems)
      : root_(root), sources_(sources), problems_(problems) {}

  /// The keys of `table` into `fields`. `owner` is the name of the choice they belong to, or "".
  void bind_fields(const Value& table, const Fields& fields, const std::string& path,
                   const AnyChoice* choice, const Type* choice_type) {
    for (const Field& field : fields.list()) {
      const Value::Member* member = table.find(field.key);
      if (member)
        bind_value(member->value, field, *field.type, field.value, below(path, field.key));
      else if (field.is_required)
        problems_
            .refuse(below(path, field.key), table.at, cat(below(path, field.key), " is missing"))
            .allowed(allowed_values(field, *field.type))
            .hint(cat("it is the ", field.meaning));
    }
    for (const Value::Member& member : table.members) {
      const auto known = [&](const Field& field) { return member.key == field.key; };
      if (std::any_of(fields.list().begin(), fields.list().end(), known)) continue;
      if (choice && member.key == "type") continue;
      unknown_key(member, fields, path, choice, choice_type);
    }
  }

  void bind_struct(const Value& in, const Field& field, const Type& type, void* object,
                   const std::string& path) {
    Value read;
    const Value* table = as_table(in, field, type, path, read);
    if (!table) return;
    Fields fields;
    type.fields(object, fields);
    bind_fields(*table, fields, path, nullptr, nullptr);
  }

 private:
  static std::string below(const std::string& path, std::string_view key) {
    return path.empty() ? print_key(key) : cat(path, ".", print_key(key));
  }

  Fault& refuse(const Value& in, const Field& field, const Type& type, const std::string& path,
                std::string_view what) {
    return problems_.refuse(path, in.at, cat(path, " = ", in.print(kShown), " ", what))
        .allowed(allowed_values(field, type));
  }

  bool wrong_kind(const Value& in, const Field& field, const Type& type, const std::string& path) {
    Fault& fault = refuse(in, field, type, path,
                          cat("is ", in.kind_name(), ", not ", article_name(type.kind)));
    const bool number = type.kind == Kind::kInteger || type.kind == Kind::kNumber;
    if (in.kind == Value::Kind::kNumber && type.kind == Kind::kInteger &&
        in.number == std::floor(in.number) && std::fabs(in.number) < 1e15)
      fault.hint(cat("write ", static_cast<int64_t>(in.number)));
    else if (in.kind == Value::Kind::kString && (number || type.kind == Kind::kBool))
      fault.hint("numbers, true and false stand without quotes");
    else if (in.kind == Value::Kind::kInteger && type.kind == Kind::kString && field.words.empty())
      fault.hint(cat("write ", quote(cat(in.integer))));
    return false;
  }

  /// `in` as a table, read from an override's text into `read` where it is one; null on a fault.
  const Value* as_table(const Value& in, const Field& field, const Type& type,
                        const std::string& path, Value& read) {
    const Value* value = &in;
    if (in.kind == Value::Kind::kRaw) {
      if (!read_override(in, field, type, path, read)) return nullptr;
      value = &read;
    }
    if (value->kind == Value::Kind::kTable) return value;
    wrong_kind(*value, field, type, path);
    return nullptr;
  }

  bool read_override(const Value& in, const Field& field, const Type& type, const std::string& path,
                     Value& out) {
    std::string error;
    if (read_raw(in, out, error)) return true;
    refuse(in, field, type, path, cat("is not a TOML value: ", error));
    return false;
  }

  /// Whether an override's text is taken as it stands, as a string.
  static bool verbatim(const Type& type, std::string_view text) {
    switch (type.kind) {
      case Kind::kString:
      case Kind::kPath:
      case Kind::kDuration:
        return true;
      case Kind::kChoice:
        return !text.starts_with("{");
      case Kind::kOptional:
        return text == "none" || verbatim(type.element(), text);
      case Kind::kList:
      case Kind::kOneOrMany:
        return !text.starts_with("[") && !text.starts_with("\"") && !text.starts_with("'") &&
               verbatim(type.element(), text);
      default:
        return false;
    }
  }

  bool bind_value(const Value& in, const Field& field, const Type& type, void* object,
                  const std::string& path) {
    sources_.set(path, in.at);
    if (in.kind == Value::Kind::kRaw && type.kind != Kind::kStruct) {
      Value read;
      if (verbatim(type, in.text)) {
        read.kind = Value::Kind::kString;
        read.text = in.text;
        read.at = in.at;
      } else if (!read_override(in, field, type, path, read)) {
        return false;
      }
      return bind_value(read, field, type, object, path);
    }
    switch (type.kind) {
      case Kind::kBool:
        if (in.kind != Value::Kind::kBool) return wrong_kind(in, field, type, path);
        *static_cast<bool*>(object) = in.boolean;
        return true;
      case Kind::kInteger:
        if (in.kind != Value::Kind::kInteger) return wrong_kind(in, field, type, path);
        if (!in_bounds(in, static_cast<double>(in.integer), field, type, path)) return false;
        *static_cast<int64_t*>(object) = in.integer;
        return true;
      case Kind::kNumber:
        return bind_number(in, field, type, object, path);
      case Kind::kString:
        return bind_string(in, field, type, object, path);
      case Kind::kPath:
        return bind_path(in, field, type, object, path);
      case Kind::kDuration:
        return bind_duration(in, field, type, object, path);
      case Kind::kOptional:
        return bind_optional(in, field, type, object, path);
      case Kind::kList:
      case Kind::kOneOrMany:
        return bind_list(in, field, type, object, path);
      case Kind::kMap:
        return bind_map(in, field, type, object, path);
      case Kind::kStruct:
        bind_struct(in, field, type, object, path);
        return true;
      case Kind::kChoice:
        return bind_choice(in, field, type, object, path);
    }
    return false;
  }

  bool in_bounds(const Value& in, double value, const Field& field, const Type& type,
                 const std::string& path) {
    const bool small = field.low && (field.low_open ? value <= *field.low : value < *field.low);
    const bool large = field.high && (field.high_open ? value >= *field.high : value > *field.high);
    if (small || large) refuse(in, field, type, path, small ? "is too small" : "is too large");
    return !small && !large;
  }

  bool bind_number(const Value& in, const Field& field, const Type& type, void* object,
                   const std::string& path) {
    if (in.kind != Value::Kind::kNumber && in.kind != Value::Kind::kInteger)
      return wrong_kind(in, field, type, path);
    const double value =
        in.kind == Value::Kind::kNumber ? in.number : static_cast<double>(in.integer);
    if (!std::isfinite(value)) {
      refuse(in, field, type, path, "is not finite");
      return false;
    }
    if (!in_bounds(in, value, field, type, path)) return false;
    *static_cast<double*>(object) = value;
    return true;
  }

  bool bind_string(const Value& in, const Field& field, const Type& type, void* object,
                   const std::string& path) {
    if (in.kind != Value::Kind::kString) return wrong_kind(in, field, type, path);
    const auto& words = field.words;
    if (!words.empty() && std::find(words.begin(), words.end(), in.text) == words.end()) {
      Fault& fault = refuse(in, field, type, path, "is not one of the words allowed here");
      if (const std::string near = nearest(in.text, words); !near.empty())
        fault.hint(cat("the nearest is ", quote(near)));
      return false;
    }
    *static_cast<std::string*>(object) = in.text;
    return true;
  }

  bool bind_path(const Value& in, const Field& field, const Type& type, void* object,
                 const std::string& path) {
    if (in.kind != Value::Kind::kString) return wrong_kind(in, field, type, path);
    if (in.text.empty()) {
      refuse(in, field, type, path, "is empty");
      return false;
    }
    const bool in_file = in.at.line > 0;
    *static_cast<Path*>(object) = {
        in.text, absolute_path(in_file ? join_path(parent_path(in.at.file), in.text) : in.text)};
    return true;
  }

  bool bind_duration(const Value& in, const Field& field, const Type& type, void* object,
                     const std::string& path) {
    double seconds = 0;
    if (in.kind == Value::Kind::kString) {
      if (!parse_duration(in.text, seconds)) {
        refuse(in, field, type, path, "is not a time").hint("units are d, h, m, s and ms");
        return false;
      }
    } else if (!bind_number(in, field, type, &seconds, path)) {
      return false;
    }
    if (!in_bounds(in, seconds, field, type, path)) return false;
    *static_cast<Duration*>(object) = {seconds};
    return true;
  }

  bool bind_optional(const Value& in, const Field& field, const Type& type, void* object,
                     const std::string& path) {
    const Kind element = type.element().kind;
    type.clear(object);
    if (in.kind == Value::Kind::kString && in.text == "none" && element != Kind::kString &&
        element != Kind::kPath)
      return true;
    if (bind_value(in, field, type.element(), type.append(object, ""), path)) return true;
    type.clear(object);
    return false;
  }

  bool bind_list(const Value& in, const Field& field, const Type& type, void* object,
                 const std::string& path) {
    const bool array = in.kind == Value::Kind::kArray;
    const std::span<const Value> items =
        array ? std::span<const Value>(in.items) : std::span<const Value>(&in, 1);
    type.clear(object);
    if (type.listed) *type.listed(object) = array;
    bool good = true;
    std::vector<std::string> seen;
    for (size_t i = 0; i < items.size(); ++i) {
      const std::string name = array ? cat(path, "[", i, "]") : path;
      good &= bind_value(items[i], field, type.element(), type.append(object, ""), name);
      if (field.words.empty()) continue;
      if (std::find(seen.begin(), seen.end(), items[i].text) != seen.end()) {
        refuse(items[i], field, type.element(), name, "stands twice in the list");
        good = false;
      }
      seen.push_back(items[i].text);
    }
    if (!good) type.clear(object);
    return good;
  }

  bool bind_map(const Value& in, const Field& field, const Type& type, void* object,
                const std::string& path) {
    if (in.kind != Value::Kind::kTable) return wrong_kind(in, field, type, path);
    for (const Value::Member& member : in.members)
      bind_value(member.value, field, type.element(), type.append(object, member.key),
                 below(path, member.key));
    return true;
  }

  bool bind_choice(const Value& in, const Field& field, const Type& type, void* object,
                   const std::string& path) {
    AnyChoice& choice = *static_cast<AnyChoice*>(object);
    if (in.kind != Value::Kind::kTable && in.kind != Value::Kind::kString)
      return wrong_kind(in, field, type, path);
    Value table = in;
    name_choice(table);
    if (const Value::Member* tag = table.find("type")) {
      Value name = tag->value;
      if (name.kind == Value::Kind::kRaw) name.kind = Value::Kind::kString;
      sources_.set(below(path, "type"), name.at);
      if (!choose(name, field, type, choice, below(path, "type"))) return false;
    }
    Fields fields;
    choice.value->fields(fields);
    bind_fields(table, fields, path, &choice, &type);
    return true;
  }

  bool choose(const Value& name, const Field& field, const Type& type, AnyChoice& choice,
              const std::string& path) {
    std::vector<std::string> names;
    for (const ChoiceEntry& entry : type.choices()) {
      names.push_back(entry.name);
      if (name.kind != Value::Kind::kString || name.text != entry.name) continue;
      if (choice.type != entry.name) choice.value = entry.make();
      choice.type = entry.name;
      return true;
    }
    Fault& fault = refuse(name, field, type, path, "is not known");
    if (const std::string near = nearest(name.text, names); !near.empty())
      fault.hint(cat("the nearest is ", quote(near)));
    return false;
  }

  void unknown_key(const Value::Member& member, const Fields& fields, const std::string& path,
                   const AnyChoice* choice, const Type* choice_type) {
    const std::string name = below(path, member.key);
    const std::string shown = cat(name, " = ", member.value.print(kShown));
    for (const DroppedKey& dropped : fields.dropped_keys()) {
      if (member.key != dropped.key) continue;
      problems_
          .refuse(name, member.key_at,
                  cat(shown, " is a key of Levanter's that does not exist here"))
          .hint(dropped.hint);
      return;
    }
    if (choice_type) {
      if (const std::string other = reader(member.key, *choice_type); !other.empty()) {
        problems_
            .refuse(name, member.key_at, cat(shown, " is not read by type ", quote(choice->type)))
            .hint(cat("type ", quote(other), " reads it"));
        return;
      }
    }
    std::vector<std::string> keys;
    if (choice) keys.push_back("type");
    for (const Field& field : fields.list()) keys.push_back(field.key);
    Fault& fault = problems_.refuse(name, member.key_at, cat(shown, " is not a key"))
                       .allowed(keys.empty() ? "no key at all" : join(keys, ", "));
    if (const std::string near = nearest(member.key, keys); !near.empty())
      fault.hint(cat("the nearest key is ", near));
    else if (const std::string elsewhere = find_elsewhere(member.key); !elsewhere.empty())
      fault.hint(cat("there is a key ", elsewhere));
  }

  /// The other candidate of a choice that has the key.
  static std::string reader(std::string_view key, const Type& choice_type) {
    for (const ChoiceEntry& entry : choice_type.choices()) {
      const std::unique_ptr<Choosable> other = entry.make();
      Fields fields;
      other->fields(fields);
      for (const Field& field : fields.list())
        if (key == field.key) return entry.name;
    }
    return "";
  }

  /// The full name of a key of that name in another table.
  std::string find_elsewhere(std::string_view key) {
    for (const Described& described : describe(root_))
      if (described.key == key || described.key.ends_with(cat(".", key))) return described.key;
    return "";
  }

  const Type& root_;
  Sources& sources_;
  Problems& problems_;
};

/// Resolves the paths that are still at their defaults, and validates, innermost first.
class Finisher final {
 public:
  explicit Finisher(Problems& problems) : problems_(problems) {}

  void finish(const Type& type, void* object, const std::string& path) {
    const auto below = [&](std::string_view key) {
      return path.empty() ? print_key(key) : cat(path, ".", print_key(key));
    };
    if (type.kind == Kind::kPath) {
      Path& place = *static_cast<Path*>(object);
      if (place.resolved.empty() && !place.text.empty()) place.resolved = absolute_path(place.text);
    } else if (type.kind == Kind::kStruct || type.kind == Kind::kChoice) {
      Choosable* chosen =
          type.kind == Kind::kChoice ? static_cast<AnyChoice*>(object)->value.get() : nullptr;
      Fields fields;
      chosen ? chosen->fields(fields) : type.fields(object, fields);
      for (const Field& field : fields.list()) finish(*field.type, field.value, below(field.key));
      const std::string before = problems_.enter(path);
      if (chosen)
        chosen->validate(problems_);
      else if (type.validate)
        type.validate(object, problems_);
      problems_.enter(before);
    } else if (type.element) {
      for (size_t i = 0; i < type.size(object); ++i) {
        const bool optional = type.kind == Kind::kOptional;
        finish(type.element(), type.at(object, i),
               optional   ? path
               : type.key ? below(*type.key(object, i))
                          : cat(path, "[", i, "]"));
      }
    }
  }

 private:
  Problems& problems_;
};

}  // namespace

void bind(const Value& root, const Type& type, void* object, Sources& sources, Problems& problems) {
  sources.set("", root.at);
  const Field whole{.key = "", .meaning = "", .type = &type, .value = object};
  Binder(type, sources, problems).bind_struct(root, whole, type, object, "");
  Finisher(problems).finish(type, object, "");
}

}  // namespace levanter::config

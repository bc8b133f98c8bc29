// Fills config structs from values in one descent, reporting every fault on the way.
#include "config/bind.h"

#include <algorithm>
#include <map>
#include <optional>
#include <set>
#include <utility>

#include "base/files.h"
#include "base/strings.h"
#include "config/describe.h"
#include "config/document.h"
#include "config/slot.h"

namespace levanter::config {

namespace {

constexpr size_t kMostEntries = 4096;  ///< of a table whose keys are names of the user's

std::string below(const std::string& path, std::string_view key) {
  return path.empty() ? print_key(key) : cat(path, ".", print_key(key));
}

/// A key as an error shows it, cut where it is very long.
std::string shorten(std::string name) {
  size_t end = 2 * kShownCharacters;
  if (name.size() <= end) return name;
  while ((static_cast<unsigned char>(name[end]) & 0xC0) == 0x80) --end;  // not inside a character
  return name.substr(0, end) + "...";
}

/// Whether an override's text is taken as it stands, as a string.
bool verbatim(const Type& type, std::string_view text) {
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

/// The text of an override as the field's type reads it; false when it was refused.
bool read_override(const Slot& slot, Value& out) {
  std::string error;
  out = Value();
  if (!verbatim(slot.type, slot.in.text)) {
    if (read_raw(slot.in, out, error)) return true;
    if (slot.type.kind > Kind::kOptional) {
      refuse(slot, cat("is not TOML: ", error));
      return false;
    }
  }  // what is no TOML is refused as a string where one has no place
  out.kind = Value::Kind::kString;
  out.text = slot.in.text;
  out.at = slot.in.at;
  return true;
}

/// One descent through a document.
class Binder final {
 public:
  Binder(const Type& root, Sources& sources, Problems& problems)
      : root_(root), sources_(sources), problems_(problems) {}

  bool bind_value(const Value& in, const Field& field, const Type& type, void* object,
                  const std::string& path) {
    sources_.set(path, in.at);
    const Slot slot{in, field, type, object, path, problems_};
    if (in.kind == Value::Kind::kRaw) {
      Value read;
      return read_override(slot, read) && bind_value(read, field, type, object, path);
    }
    switch (type.kind) {
      case Kind::kOptional:
        return bind_optional(slot);
      case Kind::kList:
      case Kind::kOneOrMany:
        return bind_list(slot);
      case Kind::kMap:
        return bind_map(slot);
      case Kind::kStruct:
        return bind_struct(slot);
      case Kind::kChoice:
        return bind_choice(slot);
      default:
        return bind_scalar(slot);
    }
  }

 private:
  /// What unknown keys are compared with: the struct's own, and the choice that it belongs to.
  struct Owner {
    const Fields& fields;
    const AnyChoice* choice = nullptr;
    const Type* type = nullptr;
  };

  bool bind_optional(const Slot& slot) {
    const Kind element = slot.type.element().kind;
    slot.type.clear(slot.object);
    if (slot.in.kind == Value::Kind::kString && slot.in.text == "none" &&
        element != Kind::kString && element != Kind::kWord && element != Kind::kPath)
      return true;
    if (bind_value(slot.in, slot.field, slot.type.element(), slot.type.append(slot.object, ""),
                   slot.path))
      return true;
    slot.type.clear(slot.object);
    return false;
  }

  bool bind_list(const Slot& slot) {
    const Type& type = slot.type;
    const bool array = slot.in.kind == Value::Kind::kArray;
    const std::span<const Value> items =
        array ? std::span<const Value>(slot.in.items) : std::span<const Value>(&slot.in, 1);
    type.clear(slot.object);
    if (type.listed) *type.listed(slot.object) = array && !items.empty();
    bool good = true;
    std::set<std::string_view> words;
    for (size_t i = 0; i < items.size(); ++i) {
      const std::string name = array ? cat(slot.path, "[", i, "]") : slot.path;
      void* element = type.append(slot.object, "");
      good &= names_choice(items[i], type.element(), name);
      good &= bind_value(items[i], slot.field, type.element(), element, name);
      if (slot.field.words.empty() || words.insert(items[i].text).second) continue;
      refuse({items[i], slot.field, type.element(), element, name, problems_},
             "stands twice in the list");
      good = false;
    }
    if (!good) type.clear(slot.object);
    return good;
  }

  /// In a list nothing is chosen by default: an element says what it is.
  bool names_choice(const Value& in, const Type& type, const std::string& path) {
    if (type.kind != Kind::kChoice || in.kind != Value::Kind::kTable || in.find("type"))
      return true;
    std::vector<std::string> names;
    for (const ChoiceEntry& entry : type.choices()) names.push_back(entry.name);
    const std::string name = below(path, "type");
    problems_.refuse(name, in.at, cat(name, " is missing")).allowed(join(names, ", "));
    return false;
  }

  bool bind_map(const Slot& slot) {
    if (slot.in.kind != Value::Kind::kTable) return wrong_kind(slot);
    if (slot.in.members.size() > kMostEntries) {
      problems_
          .refuse(slot.path, slot.in.at,
                  cat(slot.path, " has ", slot.in.members.size(), " entries"))
          .allowed(cat("at most ", kMostEntries));
      return false;
    }
    for (const Value::Member& member : slot.in.members) {
      const std::string name = below(slot.path, member.key);
      if (member.key.find('\0') != std::string::npos)
        problems_.refuse(name, member.key_at, cat(name, " holds a NUL character"));
      else
        bind_value(member.value, slot.field, slot.type.element(),
                   slot.type.append(slot.object, member.key), name);
    }
    return true;
  }

  bool bind_struct(const Slot& slot) {
    if (slot.in.kind != Value::Kind::kTable) return wrong_kind(slot);
    Fields fields;
    slot.type.fields(slot.object, fields);
    bind_fields(slot.in, {fields}, slot.path);
    return true;
  }

  bool bind_choice(const Slot& slot) {
    if (slot.in.kind != Value::Kind::kTable && slot.in.kind != Value::Kind::kString)
      return wrong_kind(slot);
    AnyChoice& choice = *static_cast<AnyChoice*>(slot.object);
    Value table = slot.in;
    name_choice(table);
    if (const Value::Member* tag = table.find("type")) {
      Value name = tag->value;
      if (name.kind == Value::Kind::kRaw) name.kind = Value::Kind::kString;
      const std::string path = below(slot.path, "type");
      sources_.set(path, name.at);
      if (!choose({name, slot.field, slot.type, slot.object, path, problems_}, choice))
        return false;
    }
    Fields fields;
    choice.value->fields(fields);
    bind_fields(table, {fields, &choice, &slot.type}, slot.path);
    return true;
  }

  static bool choose(const Slot& name, AnyChoice& choice) {
    std::vector<std::string> names;
    for (const ChoiceEntry& entry : name.type.choices()) {
      names.push_back(entry.name);
      if (name.in.kind != Value::Kind::kString || name.in.text != entry.name) continue;
      if (choice.type != entry.name) choice.value = entry.make();
      choice.type = entry.name;
      return true;
    }
    Fault& fault = refuse(name, "is not known");
    const std::string hint = name.type.name_hint ? name.type.name_hint(name.in.text) : "";
    if (hint.empty())
      hint_nearest(fault, name.in.text, names);
    else
      fault.hint(hint);
    return false;
  }

  void bind_fields(const Value& table, const Owner& owner, const std::string& path) {
    for (const Field& field : owner.fields.list()) {
      const std::string name = below(path, field.key);
      if (const Value::Member* member = table.find(field.key))
        bind_value(member->value, field, *field.type, field.value, name);
      else if (field.is_required && !(field.otherwise && table.find(field.otherwise)))
        problems_.refuse(name, table.at, cat(name, " is missing"))
            .allowed(allowed_values(field, *field.type))
            .hint(cat(field.key, ": ", field.meaning));
    }
    for (const Value::Member& member : table.members) {
      const auto same = [&](const Field& field) { return member.key == field.key; };
      const auto list = owner.fields.list();
      if (std::any_of(list.begin(), list.end(), same)) continue;
      if (!owner.choice || member.key != "type") unknown_key(member, owner, path);
    }
  }

  void unknown_key(const Value::Member& member, const Owner& owner, const std::string& path) {
    const std::string name = below(path, member.key);
    if (problems_.full()) {
      problems_.refuse(name, member.key_at, "");
      return;
    }
    const std::string shown = cat(shorten(name), " = ", member.value.print(kShownCharacters));
    const auto report = [&](std::string_view what) -> Fault& {
      return problems_.refuse(name, member.key_at, cat(shown, " ", what));
    };
    for (const DroppedKey& dropped : owner.fields.dropped_keys())
      if (member.key == dropped.key) {
        report("is not a key here").hint(dropped.hint);
        return;
      }
    if (const std::string other = reader(member.key, owner); !other.empty()) {
      report(cat("is not read by type ", quote(owner.choice->type)))
          .hint(cat("type ", quote(other), " reads it"));
      return;
    }
    if (const char* hint = foreign_hint(member.key)) {
      report("is not a key here").hint(hint);
      return;
    }
    std::vector<std::string> keys;
    if (owner.choice) keys.push_back("type");
    for (const Field& field : owner.fields.list()) keys.push_back(field.key);
    Fault& fault = report("is not a key").allowed(keys.empty() ? "no key" : join(keys, ", "));
    if (const std::string near = nearest(member.key, keys); !near.empty())
      fault.hint(cat("the nearest key is ", near));
    else if (const std::string elsewhere = find_elsewhere(member.key); !elsewhere.empty())
      fault.hint(cat("there is a key ", elsewhere));
  }

  /// The other candidate of the owner's choice that has the key, or "".
  static std::string reader(std::string_view key, const Owner& owner) {
    if (!owner.type) return "";
    for (const ChoiceEntry& entry : owner.type->choices()) {
      const std::unique_ptr<Choosable> other = entry.make();
      Fields fields;
      other->fields(fields);
      for (const Field& field : fields.list())
        if (key == field.key) return entry.name;
    }
    return "";
  }

  /// What to write instead of another program's name for a key, or null.
  const char* foreign_hint(std::string_view key) {
    if (!foreign_) {
      const std::shared_ptr<void> root = root_.make();
      Fields fields;
      if (root_.fields) root_.fields(root.get(), fields);
      foreign_.emplace(fields.dropped_keys().begin(), fields.dropped_keys().end());
    }
    for (const DroppedKey& dropped : *foreign_)
      if (dropped.anywhere && key == dropped.key) return dropped.hint;
    return nullptr;
  }

  /// The full name of a key of that name in another table, or "".
  std::string find_elsewhere(std::string_view key) {
    if (!described_) described_ = describe(root_);
    for (const Described& described : *described_)
      if (described.key == key || described.key.ends_with(cat(".", key))) return described.key;
    return "";
  }

  const Type& root_;
  std::optional<std::vector<Described>> described_;
  std::optional<std::vector<DroppedKey>> foreign_;
  Sources& sources_;
  Problems& problems_;
};

/// Resolves the paths that are still at their defaults, and validates, innermost first.
void finish(const Type& type, void* object, const std::string& path, Problems& problems) {
  if (type.kind == Kind::kPath) {
    Path& place = *static_cast<Path*>(object);
    if (place.resolved.empty() && !place.text.empty()) place.resolved = absolute_path(place.text);
  } else if (type.kind == Kind::kStruct || type.kind == Kind::kChoice) {
    Choosable* chosen =
        type.kind == Kind::kChoice ? static_cast<AnyChoice*>(object)->value.get() : nullptr;
    Fields fields;
    chosen ? chosen->fields(fields) : type.fields(object, fields);
    for (const Field& field : fields.list())
      finish(*field.type, field.value, below(path, field.key), problems);
    std::string before = problems.enter(path);
    if (chosen)
      chosen->validate(problems);
    else if (type.validate)
      type.validate(object, problems);
    problems.enter(std::move(before));
  } else if (type.element) {
    for (size_t i = 0; i < type.size(object); ++i) {
      std::string name = cat(path, "[", i, "]");
      if (type.key) name = below(path, *type.key(object, i));
      if (type.kind == Kind::kOptional) name = path;
      finish(type.element(), type.at(object, i), name, problems);
    }
  }
}

}  // namespace

void bind(const Value& root, const Type& type, void* object, Sources& sources, Problems& problems) {
  const Field whole{.key = "", .meaning = "", .type = &type, .value = object};
  Binder(type, sources, problems).bind_value(root, whole, type, object, "");
  finish(type, object, "", problems);
}

}  // namespace levanter::config

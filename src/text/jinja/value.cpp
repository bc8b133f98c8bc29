// The values of a template: how they are made, printed and compared.
#include "text/jinja/value.h"

#include <algorithm>
#include <charconv>
#include <cmath>

#include "base/strings.h"
#include "text/jinja/strings.h"

namespace levanter::text::jinja {

using Kind = Value::Kind;

Value Value::undefined(std::string what) {
  Value value;
  value.object_ = std::make_shared<const std::string>(std::move(what));
  return value;
}

Value Value::boolean(bool value) {
  Value made(Kind::kBool);
  made.whole_ = value ? 1 : 0;
  return made;
}

Value Value::integer(int64_t value) {
  Value made(Kind::kInt);
  made.whole_ = value;
  return made;
}

Value Value::real(double value) {
  Value made(Kind::kFloat);
  made.real_ = value;
  return made;
}

Value Value::string(std::string value) {
  check_text_size(value.size());
  Value made(Kind::kString);
  made.object_ = std::make_shared<const std::string>(std::move(value));
  return made;
}

namespace {

int depth_above(int deepest) {
  if (deepest >= kMaxValueDepth)
    throw Fault{cat("lists and dicts are nested more than ", kMaxValueDepth, " deep"), "", ""};
  return deepest + 1;
}

}  // namespace

Value Value::sequence(Kind kind, List items) {
  Value made(kind);
  int deepest = 0;
  for (const Value& item : items) deepest = std::max(deepest, item.depth_);
  made.depth_ = depth_above(deepest);
  made.object_ = std::make_shared<const List>(std::move(items));
  return made;
}

Value Value::dict(Dict items) {
  Value made(Kind::kDict);
  int deepest = 0;
  for (const auto& [key, value] : items.entries)
    deepest = std::max({deepest, key.depth_, value.depth_});
  made.depth_ = depth_above(deepest);
  made.object_ = std::make_shared<const Dict>(std::move(items));
  return made;
}

Value Value::name_space(std::shared_ptr<Dict> items) {
  Value made(Kind::kNamespace);
  made.object_ = std::move(items);
  return made;
}

Value Value::function(Function function) {
  Value made(Kind::kFunction);
  made.object_ = std::make_shared<const Function>(std::move(function));
  return made;
}

Value Value::loop(std::shared_ptr<LoopState> state) {
  Value made(Kind::kLoop);
  made.object_ = std::move(state);
  return made;
}

std::string Value::why_undefined() const { return object_ ? as_string() : "it is undefined"; }

bool Value::same_as(const Value& other) const {
  if (kind_ != other.kind_) return false;
  if (is(Kind::kFloat)) return real_ == other.real_;
  if (is(Kind::kString)) return as_string() == other.as_string();
  return is_whole() ? whole_ == other.whole_ : object_ == other.object_;
}

const Value* Dict::find(std::string_view key) const {
  for (const auto& [name, value] : entries)
    if (name.is(Kind::kString) && name.as_string() == key) return &value;
  return nullptr;
}

const Value* Dict::find(const Value& key) const {
  for (const auto& [name, value] : entries)
    if (equal(name, key)) return &value;
  return nullptr;
}

void Dict::set(const Value& key, Value value) {
  if (key.is(Kind::kList) || key.is(Kind::kDict))
    throw Fault{cat("a ", type_name(key), " can't be a key of a dict"), "", ""};
  for (auto& [name, old] : entries) {
    if (!equal(name, key)) continue;
    old = std::move(value);
    return;
  }
  entries.emplace_back(key, std::move(value));
}

const Value* Arguments::find(size_t place, std::string_view name) const {
  if (place < positional.size()) return &positional[place];
  for (const auto& [given, value] : named)
    if (given == name) return &value;
  return nullptr;
}

Value Arguments::get(size_t place, std::string_view name, Value other) const {
  const Value* found = find(place, name);
  return found != nullptr ? *found : std::move(other);
}

const Value& Arguments::need(size_t place, std::string_view name, std::string_view what) const {
  const Value* found = find(place, name);
  if (found == nullptr) throw Fault{cat(what, " needs the argument ", quote(name)), "", ""};
  return *found;
}

void Arguments::allow(std::string_view what, std::initializer_list<std::string_view> names) const {
  if (positional.size() > names.size())
    throw Fault{cat(what, " takes at most ", names.size(), " arguments, not ", positional.size()),
                "", ""};
  for (const auto& [given, value] : named) {
    if (std::find(names.begin(), names.end(), given) != names.end()) continue;
    std::vector<std::string> known(names.begin(), names.end());
    throw Fault{cat(what, " has no argument ", quote(given)),
                known.empty() ? "no arguments" : join(known, ", "), ""};
  }
}

std::string_view type_name(const Value& value) {
  constexpr std::string_view kNames[] = {"Undefined", "NoneType",  "bool",     "int",
                                         "float",     "str",       "list",     "tuple",
                                         "dict",      "Namespace", "function", "LoopContext"};
  return kNames[static_cast<size_t>(value.kind())];
}

bool truth(const Value& value) {
  switch (value.kind()) {
    case Kind::kUndefined:
    case Kind::kNone:
      return false;
    case Kind::kBool:
    case Kind::kInt:
      return value.as_int() != 0;
    case Kind::kFloat:
      return value.as_real() != 0;
    case Kind::kString:
      return !value.as_string().empty();
    case Kind::kList:
    case Kind::kTuple:
      return !value.items().empty();
    case Kind::kDict:
      return !value.as_dict().entries.empty();
    default:
      return true;
  }
}

std::string real_text(double value) {
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value > 0 ? "inf" : "-inf";
  char buffer[40];
  const auto end =
      std::to_chars(buffer, buffer + sizeof buffer, value, std::chars_format::scientific);
  const std::string_view text(buffer, static_cast<size_t>(end.ptr - buffer));
  const size_t mark = text.find('e');
  int exponent = 0;
  const char* digits = text.data() + mark + (text[mark + 1] == '+' ? 2 : 1);
  std::from_chars(digits, end.ptr, exponent);
  if (exponent < -4 || exponent >= 16) return std::string(text);
  std::string out(
      buffer, std::to_chars(buffer, buffer + sizeof buffer, value, std::chars_format::fixed).ptr);
  return out.find('.') == std::string::npos ? out + ".0" : out;
}

namespace {

void append_repr(std::string& out, const Value& value, int depth) {
  if (depth > 2 * kMaxValueDepth) throw Fault{"a value that holds itself can't be printed", "", ""};
  const auto append_items = [&](const List& items, char open, char close) {
    out += open;
    for (size_t i = 0; i < items.size(); ++i) {
      if (i > 0) out += ", ";
      append_repr(out, items[i], depth + 1);
    }
    if (close == ')' && items.size() == 1) out += ',';
    out += close;
  };
  const auto append_dict = [&](const Dict& dict) {
    out += '{';
    for (size_t i = 0; i < dict.entries.size(); ++i) {
      if (i > 0) out += ", ";
      append_repr(out, dict.entries[i].first, depth + 1);
      out += ": ";
      append_repr(out, dict.entries[i].second, depth + 1);
    }
    out += '}';
  };
  check_text_size(out.size());
  switch (value.kind()) {
    case Kind::kUndefined:
      out += "Undefined";
      break;
    case Kind::kString:
      append_quoted(out, value.as_string());
      break;
    case Kind::kList:
      append_items(value.items(), '[', ']');
      break;
    case Kind::kTuple:
      append_items(value.items(), '(', ')');
      break;
    case Kind::kDict:
      append_dict(value.as_dict());
      break;
    case Kind::kNamespace:
      out += "<Namespace ";
      append_dict(value.as_namespace());
      out += '>';
      break;
    default:
      out += to_text(value);
  }
}

}  // namespace

std::string to_text(const Value& value) {
  switch (value.kind()) {
    case Kind::kUndefined:
      return "";
    case Kind::kNone:
      return "None";
    case Kind::kBool:
      return value.as_bool() ? "True" : "False";
    case Kind::kInt:
      return cat(value.as_int());
    case Kind::kFloat:
      return real_text(value.as_real());
    case Kind::kString:
      return value.as_string();
    case Kind::kFunction:
      return cat("<function ", value.as_function().name, ">");
    case Kind::kLoop: {
      const LoopState& loop = value.as_loop();
      return cat("<LoopContext ", loop.index + 1, "/", loop.items->size(), ">");
    }
    default:
      return to_repr(value);
  }
}

std::string to_repr(const Value& value) {
  std::string out;
  append_repr(out, value, 0);
  return out;
}

bool equal(const Value& a, const Value& b) {
  if (a.is_number() && b.is_number()) {
    if (a.is_whole() && b.is_whole()) return a.as_int() == b.as_int();
    return a.as_real() == b.as_real();
  }
  if (a.kind() != b.kind()) return false;
  switch (a.kind()) {
    case Kind::kUndefined:
    case Kind::kNone:
      return true;
    case Kind::kString:
      return a.as_string() == b.as_string();
    case Kind::kList:
    case Kind::kTuple:
      return std::equal(a.items().begin(), a.items().end(), b.items().begin(), b.items().end(),
                        equal);
    case Kind::kDict: {
      const Dict &x = a.as_dict(), &y = b.as_dict();
      if (x.entries.size() != y.entries.size()) return false;
      return std::all_of(x.entries.begin(), x.entries.end(), [&](const auto& entry) {
        const Value* other = y.find(entry.first);
        return other != nullptr && equal(entry.second, *other);
      });
    }
    default:
      return a.same_as(b);
  }
}

int compare(const Value& a, const Value& b, std::string_view op) {
  if (a.is_number() && b.is_number()) {
    if (a.is_whole() && b.is_whole()) return a.as_int() < b.as_int() ? -1 : a.as_int() > b.as_int();
    return a.as_real() < b.as_real() ? -1 : a.as_real() > b.as_real();
  }
  if (a.is(Kind::kString) && b.is(Kind::kString)) return a.as_string().compare(b.as_string());
  if (a.is_sequence() && a.kind() == b.kind()) {
    const List &x = a.items(), &y = b.items();
    for (size_t i = 0; i < std::min(x.size(), y.size()); ++i)
      if (!equal(x[i], y[i])) return compare(x[i], y[i], op);
    return x.size() < y.size() ? -1 : x.size() > y.size();
  }
  for (const Value* value : {&a, &b})
    if (value->is(Kind::kUndefined)) throw Fault{value->why_undefined(), "", ""};
  throw Fault{cat("'", op, "' can't compare ", type_name(a), " with ", type_name(b)), "", ""};
}

bool contains(const Value& container, const Value& item) {
  switch (container.kind()) {
    case Kind::kString:
      if (!item.is(Kind::kString))
        throw Fault{cat("'in' a str needs a str, not ", type_name(item)), "", ""};
      return container.as_string().find(item.as_string()) != std::string::npos;
    case Kind::kDict:
      return container.as_dict().find(item) != nullptr;
    case Kind::kUndefined:
      return false;
    case Kind::kList:
    case Kind::kTuple:
      return std::any_of(container.items().begin(), container.items().end(),
                         [&](const Value& other) { return equal(other, item); });
    default:
      throw Fault{cat("'in' can't look into a value of type ", type_name(container)), "", ""};
  }
}

List iterate(const Value& value) {
  switch (value.kind()) {
    case Kind::kUndefined:
      return {};
    case Kind::kList:
    case Kind::kTuple:
      return value.items();
    case Kind::kDict: {
      List keys;
      for (const auto& entry : value.as_dict().entries) keys.push_back(entry.first);
      return keys;
    }
    case Kind::kString: {
      List characters;
      for (const std::string_view one : characters_of(value.as_string()))
        characters.push_back(Value::string(std::string(one)));
      return characters;
    }
    default:
      throw Fault{cat("a value of type ", type_name(value), " can't be looped over"), "",
                  value.is(Kind::kNone) ? "test it before: {% if x %}" : ""};
  }
}

int64_t length(const Value& value) {
  switch (value.kind()) {
    case Kind::kUndefined:
      return 0;
    case Kind::kList:
    case Kind::kTuple:
      return static_cast<int64_t>(value.items().size());
    case Kind::kDict:
      return static_cast<int64_t>(value.as_dict().entries.size());
    case Kind::kString:
      return character_count(value.as_string());
    case Kind::kLoop:
      return static_cast<int64_t>(value.as_loop().items->size());
    default:
      throw Fault{cat("a value of type ", type_name(value), " has no length"), "", ""};
  }
}

}  // namespace levanter::text::jinja

// The values of a template: how they are made and compared.
#include "text/jinja/value.h"

#include <algorithm>

#include "text/jinja/strings.h"

namespace levanter::text::jinja {

thread_local Budget* Budget::current_ = nullptr;

void Budget::spend(size_t steps) {
  if (current_ == nullptr || (current_->spent_ += steps) <= current_->steps_) return;
  throw Fault{"the template does too much work",
              cat("at most ", format_count(current_->steps_), " steps for this chat"),
              "does a loop go over a very long range?"};
}

void Budget::check(size_t bytes) {
  if (current_ != nullptr && bytes + current_->held_ > kBytes)
    throw Fault{cat("the template does too much work: it holds more than ", format_bytes(kBytes),
                    " of texts and lists")};
}

void Budget::hold(size_t bytes) {
  if (current_ == nullptr) return;
  spend(1 + bytes / 64);
  check(bytes);
  current_->held_ += bytes;
}

void Budget::release(size_t bytes) {
  if (current_ != nullptr) current_->held_ -= std::min(bytes, current_->held_);
}

Value Value::real(double value) {
  Value made(Kind::kFloat);
  made.real_ = value;
  return made;
}

Value Value::string(std::string value) {
  check_text_size(value.size());
  const size_t bytes = value.size();
  return {Kind::kString, share(std::move(value), bytes)};
}

void Value::deepen_for(const Value& item) {
  depth_ = std::max(depth_, item.depth_ + 1);
  if (depth_ > kMaxValueDepth)
    fail("lists and dicts are nested more than ", kMaxValueDepth, " deep");
}

Value Value::sequence(Kind kind, List items) {
  const size_t bytes = items.size() * sizeof(Value);
  Value made(kind);
  made.depth_ = 1;
  for (const Value& item : items) made.deepen_for(item);
  made.object_ = share(std::move(items), bytes);
  return made;
}

Value Value::dict(Dict items) {
  const size_t bytes = items.entries.size() * 2 * sizeof(Value);
  Value made(Kind::kDict);
  made.depth_ = 1;
  for (const auto& [key, value] : items.entries) {
    made.deepen_for(key);
    made.deepen_for(value);
  }
  made.object_ = share(std::move(items), bytes);
  return made;
}

Value Value::function(Function function) { return {Kind::kFunction, share(std::move(function))}; }

bool Value::same_as(const Value& other) const {
  if (kind_ != other.kind_) return false;
  if (is(Kind::kFloat)) return real_ == other.real_;
  if (is(Kind::kString)) return as_string() == other.as_string();
  return is_whole() ? whole_ == other.whole_ : object_ == other.object_;
}

const Value* Dict::find(std::string_view key) const {
  Budget::spend(entries.size() / 16);
  for (const auto& [name, value] : entries)
    if (name.is(Kind::kString) && name.as_string() == key) return &value;
  return nullptr;
}

const Value* Dict::find(const Value& key) const {
  Budget::spend(entries.size() / 8);
  for (const auto& [name, value] : entries)
    if (equal(name, key)) return &value;
  return nullptr;
}

void Dict::set(const Value& key, Value value) {
  if (key.is(Kind::kList) || key.is(Kind::kDict))
    fail("a ", type_name(key), " can't be a key of a dict");
  Budget::spend(entries.size() / 8);
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

std::string_view type_name(const Value& value) {
  constexpr std::string_view kNames[] = {"Undefined", "NoneType",  "bool",     "int",
                                         "float",     "str",       "list",     "tuple",
                                         "dict",      "Namespace", "function", "LoopContext"};
  return kNames[static_cast<size_t>(value.kind())];
}

const Value& need_defined(const Value& value) {
  if (value.is(Kind::kUndefined)) fail(value.why_undefined());
  return value;
}

bool truth(const Value& value) {
  if (value.is_number()) return value.as_real() != 0;
  if (value.is(Kind::kString)) return !value.as_string().empty();
  if (value.is_sequence()) return !value.items().empty();
  if (value.is(Kind::kDict)) return !value.as_dict().entries.empty();
  return !value.is(Kind::kUndefined) && !value.is(Kind::kNone);
}

bool equal(const Value& a, const Value& b) {
  Budget::spend(a.is(Kind::kString) ? a.as_string().size() / 256 : !a.is_number());
  if (a.is_whole() && b.is_whole()) return a.as_int() == b.as_int();
  if (a.is_number() && b.is_number()) return a.as_real() == b.as_real();
  if (a.kind() != b.kind()) return false;
  if (a.is_sequence())
    return std::equal(a.items().begin(), a.items().end(), b.items().begin(), b.items().end(),
                      equal);
  if (!a.is(Kind::kDict)) return a.is(Kind::kUndefined) || a.same_as(b);
  const Dict &x = a.as_dict(), &y = b.as_dict();
  if (x.entries.size() != y.entries.size()) return false;
  return std::all_of(x.entries.begin(), x.entries.end(), [&](const auto& entry) {
    const Value* other = y.find(entry.first);
    return other != nullptr && equal(entry.second, *other);
  });
}

int compare(const Value& a, const Value& b, std::string_view op) {
  Budget::spend(a.is(Kind::kString) ? a.as_string().size() / 256 : !a.is_number());
  const auto order = [](const auto& x, const auto& y) { return x < y ? -1 : x > y; };
  if (a.is_whole() && b.is_whole()) return order(a.as_int(), b.as_int());
  if (a.is_number() && b.is_number()) return order(a.as_real(), b.as_real());
  if (a.is(Kind::kString) && b.is(Kind::kString)) return a.as_string().compare(b.as_string());
  if (a.is_sequence() && a.kind() == b.kind()) {
    const List &x = a.items(), &y = b.items();
    for (size_t i = 0; i < std::min(x.size(), y.size()); ++i)
      if (!equal(x[i], y[i])) return compare(x[i], y[i], op);
    return order(x.size(), y.size());
  }
  need_defined(a);
  need_defined(b);
  fail("'", op, "' can't compare ", type_name(a), " with ", type_name(b));
}

bool contains(const Value& container, const Value& item) {
  if (container.is(Kind::kUndefined)) return false;
  if (container.is(Kind::kDict)) return container.as_dict().find(item) != nullptr;
  if (container.is_sequence()) Budget::spend(container.items().size() / 8);
  if (container.is_sequence())
    return std::any_of(container.items().begin(), container.items().end(),
                       [&](const Value& other) { return equal(other, item); });
  if (!container.is(Kind::kString))
    fail("'in' can't look into a value of type ", type_name(container));
  Budget::spend(container.as_string().size() / 256);
  if (!item.is(Kind::kString)) fail("'in' a str needs a str, not ", type_name(item));
  return container.as_string().find(item.as_string()) != std::string::npos;
}

List texts_of(const std::vector<std::string_view>& pieces) {
  List texts;
  for (const std::string_view piece : pieces) texts.push_back(Value::string(piece));
  return texts;
}

List iterate(const Value& value) {
  List items;
  if (value.is_sequence()) {
    Budget::spend(value.items().size() / 8);
    return value.items();
  }
  if (value.is(Kind::kDict)) {
    for (const auto& entry : value.as_dict().entries) items.push_back(entry.first);
  } else if (value.is(Kind::kString)) {
    return texts_of(characters_of(value.as_string()));
  } else if (!value.is(Kind::kUndefined)) {
    throw Fault{cat("a value of type ", type_name(value), " can't be looped over"), "",
                value.is(Kind::kNone) ? "test it before: {% if x %}" : ""};
  }
  return items;
}

int64_t length(const Value& value) {
  if (value.is(Kind::kUndefined)) return 0;
  if (value.is(Kind::kString)) return character_count(value.as_string());
  if (value.is_sequence()) return static_cast<int64_t>(value.items().size());
  if (value.is(Kind::kDict)) return static_cast<int64_t>(value.as_dict().entries.size());
  if (value.is(Kind::kLoop)) return static_cast<int64_t>(value.as_loop().items->size());
  fail("a value of type ", type_name(value), " has no length");
}

}  // namespace levanter::text::jinja

// The `fields` idiom: a config struct lists its keys once, and parsing, printing and help follow.
#pragma once

#include <concepts>
#include <cstdint>
#include <initializer_list>
#include <iterator>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "base/error.h"

namespace levanter::config {

class Fields;
class Problems;

/// A file or folder. In a file it is relative to that file's folder, in an override or a default
/// to the working directory.
struct Path {
  std::string text;      ///< as written
  std::string resolved;  ///< absolute, symbolic links followed; set when a config is loaded
};

/// A length of time, written "15m", "1h30m", "20s", "500ms", or as a number of seconds.
struct Duration {
  double seconds = 0;
};

/// One value, or a list of values that means something else than its only element would.
template <class T>
struct OneOrMany {
  std::vector<T> values;
  bool listed = false;  ///< written as a list
};

/// A value of an enum and the word that a config has for it. An enum becomes a type of keys by an
/// overload in its namespace, which lists all of its values in the order of the docs:
///   std::span<const config::Word<Order>> words_of(Order);
template <class Enum>
struct Word {
  Enum value;
  const char* text;
};

/// Base of every struct that a key such as `type = "adam"` chooses.
struct Choosable {
  virtual ~Choosable() = default;
  virtual void fields(Fields& f) = 0;
  virtual void validate(Problems&) const {}

  /// A copy of what make_choice has made; null in a struct made otherwise.
  std::unique_ptr<Choosable> (*copy)(const Choosable& chosen) = nullptr;
};

/// One candidate of a choice: its name in a config, what it is, and a maker of its defaults.
struct ChoiceEntry {
  const char* name;
  const char* summary;
  std::unique_ptr<Choosable> (*make)();
};

/// `make` for a ChoiceEntry: T at its defaults.
template <class T>
std::unique_ptr<Choosable> make_choice() {
  auto chosen = std::make_unique<T>();
  chosen->copy = [](const Choosable& other) -> std::unique_ptr<Choosable> {
    return std::make_unique<T>(static_cast<const T&>(other));
  };
  return chosen;
}

/// The candidates of a table of parts: entries with name, summary and make_config.
template <class Entry>
std::vector<ChoiceEntry> choices_of(std::span<const Entry* const> entries) {
  std::vector<ChoiceEntry> choices;
  for (const Entry* entry : entries)
    choices.push_back({entry->name, entry->summary, entry->make_config});
  return choices;
}

/// The names of a table of parts, for Field::one_of.
template <class Entry>
std::vector<std::string> names_of(std::span<const Entry* const> entries) {
  std::vector<std::string> names;
  for (const Entry* entry : entries) names.emplace_back(entry->name);
  return names;
}

/// The part of Choice that does not depend on the base type. `value` is never null; a copy has its
/// own.
struct AnyChoice {
  AnyChoice() = default;
  AnyChoice(const AnyChoice& other) : type(other.type), value(copy_of(*other.value)) {}
  AnyChoice(AnyChoice&&) = default;
  AnyChoice& operator=(AnyChoice other) noexcept {
    type.swap(other.type);
    value.swap(other.value);
    return *this;
  }
  ~AnyChoice() = default;

  std::string type;
  std::unique_ptr<Choosable> value;

 private:
  static std::unique_ptr<Choosable> copy_of(const Choosable& chosen) {
    LEV_CHECK(chosen.copy != nullptr, "a choice that make_choice has not made cannot be copied");
    return chosen.copy(chosen);
  }
};

/// A struct chosen by name: `optimizer = { type = "adam", beta1 = 0.9 }`, or `optimizer = "adam"`
/// when the defaults do. Base derives from Choosable and declares
///   static std::span<const ChoiceEntry> choices();   the candidates
///   static constexpr const char* kDefaultChoice;     the one taken where the key is absent
/// and may declare
///   static std::string name_hint(std::string_view);  what to write instead of an unknown name; ""
template <class Base>
struct Choice : AnyChoice {
  Choice() {
    for (const ChoiceEntry& entry : Base::choices()) {
      if (std::string_view(entry.name) != Base::kDefaultChoice) continue;
      type = entry.name;
      value = entry.make();
    }
    LEV_CHECK(value != nullptr, "a choice without its default candidate");
  }
  Base& operator*() const { return static_cast<Base&>(*value); }
  Base* operator->() const { return static_cast<Base*>(value.get()); }
  /// The chosen struct as T; an internal error when another one was chosen.
  template <class T>
  T& as() const {
    T* chosen = dynamic_cast<T*>(value.get());
    LEV_CHECK(chosen != nullptr, "the config holds another choice than this code asks for");
    return *chosen;
  }
};

enum class Kind {
  kBool,
  kInteger,
  kNumber,
  kString,
  kWord,  ///< an enum
  kPath,
  kDuration,
  kOptional,   ///< 0 or 1 elements
  kList,       ///< written as a list, or as one value for a list of one
  kOneOrMany,  ///< as kList, but the two forms differ
  kMap,        ///< elements by name, in the order of their names
  kStruct,
  kChoice,  ///< an AnyChoice
};

/// What the loader needs to know of a C++ type: how to reach inside a value of it.
struct Type {
  Kind kind;
  std::shared_ptr<void> (*make)() = nullptr;  ///< a new value at its defaults
  // kOptional, kList, kOneOrMany, kMap:
  const Type& (*element)() = nullptr;
  size_t (*size)(const void* value) = nullptr;
  void* (*at)(void* value, size_t index) = nullptr;
  void* (*append)(void* value, const std::string& key) = nullptr;  ///< the key of a kMap only
  void (*clear)(void* value) = nullptr;
  const std::string* (*key)(const void* value, size_t index) = nullptr;  ///< kMap only
  bool* (*listed)(void* value) = nullptr;                                ///< kOneOrMany only
  // kWord:
  std::vector<std::string> (*words)() = nullptr;
  const char* (*word)(const void* value) = nullptr;
  void (*set_word)(void* value, std::string_view word) = nullptr;  ///< one of `words`
  // kStruct:
  void (*fields)(void* value, Fields& f) = nullptr;
  void (*validate)(const void* value, Problems& p) = nullptr;  ///< null when it has none
  // kChoice:
  std::span<const ChoiceEntry> (*choices)() = nullptr;
  const char* default_choice = nullptr;
  std::string (*name_hint)(std::string_view name) = nullptr;  ///< Base::name_hint, if any
};

/// The Type of T: bool, int64_t, double, std::string, Path, Duration; an enum with words_of;
/// std::optional, std::vector, OneOrMany or std::map<std::string, .> of a supported type; Choice;
/// or a struct with `fields`.
template <class T>
const Type& type_of();

/// One key of a struct. The setters below are for `fields` functions; the data for the loader.
struct Field {
  const char* key;
  const char* meaning;
  const Type* type;
  void* value;
  const char* unit_name = "";
  std::optional<double> low = {},
                        high = {};  ///< bounds of a number or a duration, or of each in a list
  bool low_open = false, high_open = false;
  std::vector<std::string> words =
      {};  ///< what a string, or each in a list, may be; empty: anything
  bool words_are_forms = false;
  bool is_required = false;
  const char* otherwise = nullptr;  ///< the key that may stand instead of a required one
  bool is_free = false;
  bool is_web = false;

  Field& at_least(double bound) {
    low = bound;
    low_open = false;
    return *this;
  }
  Field& above(double bound) {
    low = bound;
    low_open = true;
    return *this;
  }
  Field& at_most(double bound) {
    high = bound;
    high_open = false;
    return *this;
  }
  Field& below(double bound) {
    high = bound;
    high_open = true;
    return *this;
  }
  Field& unit(const char* name) {
    unit_name = name;
    return *this;
  }
  Field& one_of(std::initializer_list<const char*> allowed) {
    words.assign(allowed.begin(), allowed.end());
    return *this;
  }
  Field& one_of(std::vector<std::string> allowed) {
    words = std::move(allowed);
    return *this;
  }
  /// What a string looks like where words alone cannot say it, "save(name, ...)"; the struct's
  /// `validate` checks it.
  Field& written_as(std::vector<std::string> forms) {
    words_are_forms = true;
    return one_of(std::move(forms));
  }
  /// The key must be there: it has no default.
  Field& required() {
    is_required = true;
    return *this;
  }
  /// The key must be there, or `key` of the same table.
  Field& required_unless(const char* key) {
    otherwise = key;
    return required();
  }
  /// A path that may be a web address instead.
  Field& web() {
    is_web = true;
    return *this;
  }
  /// A resumed run may use another value than the checkpoint's: the result's bits do not depend on
  /// it, or the user is free to change his mind.
  Field& may_change() {
    is_free = true;
    return *this;
  }
};

/// A key that people bring from Levanter or elsewhere and that we do not have, with what to write
/// instead.
struct DroppedKey {
  const char* key;
  const char* hint;
  bool anywhere = false;  ///< of the root, and explained in whatever table it stands
};

/// Collects the keys of a struct while its `fields` function runs. The values are reached through
/// pointers, so a Fields lives no longer than the struct.
class Fields final {
 public:
  /// Declares `key`; the reference is good until the next call.
  template <class T>
  Field& operator()(const char* key, T& value, const char* meaning) {
    return add(key, type_of<T>(), &value, meaning);
  }
  /// Declares that `key` is Levanter's (or a common name) and not ours; a config with it is refused
  /// with the hint.
  void dropped(const char* key, const char* hint) { dropped_.push_back({key, hint}); }
  void dropped(std::initializer_list<const char*> keys, const char* hint) {
    for (const char* key : keys) dropped(key, hint);
  }

  /// Declares, in the root's `fields`, a name that other programs have for a key of ours: the hint
  /// is given wherever it stands.
  void foreign(const char* key, const char* hint) { dropped_.push_back({key, hint, true}); }

  std::span<const Field> list() const& { return list_; }
  std::span<const Field> list() const&& = delete;  // the span would outlive its owner
  std::span<const DroppedKey> dropped_keys() const { return dropped_; }

 private:
  Field& add(const char* key, const Type& type, void* value, const char* meaning);

  std::vector<Field> list_;
  std::vector<DroppedKey> dropped_;
};

namespace detail {

template <class T>
std::shared_ptr<void> make_default() {
  return std::make_shared<T>();
}

template <class T>
struct TypeOf {  // a struct with `fields`
  static void fields(void* value, Fields& f) { static_cast<T*>(value)->fields(f); }
  static void validate(const void* value, Problems& p) {
    static_cast<const T*>(value)->validate(p);
  }
  static constexpr auto validator() -> void (*)(const void*, Problems&) {
    if constexpr (requires(const T& t, Problems& p) { t.validate(p); }) return &validate;
    return nullptr;
  }
  static constexpr Type type{
      .kind = Kind::kStruct, .make = &make_default<T>, .fields = &fields, .validate = validator()};
};

template <class T, Kind K>
struct ScalarType {
  static constexpr Type type{.kind = K, .make = &make_default<T>};
};
template <>
struct TypeOf<bool> : ScalarType<bool, Kind::kBool> {};
template <>
struct TypeOf<int64_t> : ScalarType<int64_t, Kind::kInteger> {};
template <>
struct TypeOf<double> : ScalarType<double, Kind::kNumber> {};
template <>
struct TypeOf<std::string> : ScalarType<std::string, Kind::kString> {};
template <>
struct TypeOf<Path> : ScalarType<Path, Kind::kPath> {};
template <>
struct TypeOf<Duration> : ScalarType<Duration, Kind::kDuration> {};

template <class T>
requires std::is_enum_v<T>
struct TypeOf<T> {
  static std::vector<std::string> words() {
    std::vector<std::string> texts;
    for (const Word<T>& word : words_of(T())) texts.emplace_back(word.text);
    return texts;
  }
  static const char* word(const void* value) {
    for (const Word<T>& word : words_of(T()))
      if (word.value == *static_cast<const T*>(value)) return word.text;
    LEV_CHECK(false, "an enum's value has no word");
    return "";
  }
  static void set_word(void* value, std::string_view text) {
    for (const Word<T>& word : words_of(T()))
      if (word.text == text) *static_cast<T*>(value) = word.value;
  }
  static constexpr Type type{.kind = Kind::kWord,
                             .make = &make_default<T>,
                             .words = &words,
                             .word = &word,
                             .set_word = &set_word};
};

template <class T>
struct TypeOf<std::optional<T>> {
  using Value = std::optional<T>;
  static size_t size(const void* value) { return static_cast<const Value*>(value)->has_value(); }
  static void* at(void* value, size_t) { return &**static_cast<Value*>(value); }
  static void* append(void* value, const std::string&) {
    return &static_cast<Value*>(value)->emplace();
  }
  static void clear(void* value) { static_cast<Value*>(value)->reset(); }
  static constexpr Type type{.kind = Kind::kOptional,
                             .make = &make_default<Value>,
                             .element = &type_of<T>,
                             .size = &size,
                             .at = &at,
                             .append = &append,
                             .clear = &clear};
};

template <class T>
struct TypeOf<std::vector<T>> {
  using Value = std::vector<T>;
  static_assert(!std::is_same_v<T, bool>, "std::vector<bool> has no elements to point to");
  static size_t size(const void* value) { return static_cast<const Value*>(value)->size(); }
  static void* at(void* value, size_t i) { return &(*static_cast<Value*>(value))[i]; }
  static void* append(void* value, const std::string&) {
    return &static_cast<Value*>(value)->emplace_back();
  }
  static void clear(void* value) { static_cast<Value*>(value)->clear(); }
  static constexpr Type type{.kind = Kind::kList,
                             .make = &make_default<Value>,
                             .element = &type_of<T>,
                             .size = &size,
                             .at = &at,
                             .append = &append,
                             .clear = &clear};
};

template <class T>
struct TypeOf<OneOrMany<T>> {
  using Value = OneOrMany<T>;
  using List = TypeOf<std::vector<T>>;
  static auto* list(void* value) { return &static_cast<Value*>(value)->values; }
  static size_t size(const void* value) { return static_cast<const Value*>(value)->values.size(); }
  static void* at(void* value, size_t i) { return List::at(list(value), i); }
  static void* append(void* value, const std::string& key) {
    return List::append(list(value), key);
  }
  static void clear(void* value) { *static_cast<Value*>(value) = {}; }
  static bool* listed(void* value) { return &static_cast<Value*>(value)->listed; }
  static constexpr Type type{.kind = Kind::kOneOrMany,
                             .make = &make_default<Value>,
                             .element = &type_of<T>,
                             .size = &size,
                             .at = &at,
                             .append = &append,
                             .clear = &clear,
                             .listed = &listed};
};

template <class T>
struct TypeOf<std::map<std::string, T>> {
  using Value = std::map<std::string, T>;
  static size_t size(const void* value) { return static_cast<const Value*>(value)->size(); }
  static void* at(void* value, size_t i) {
    return &std::next(static_cast<Value*>(value)->begin(), static_cast<std::ptrdiff_t>(i))->second;
  }
  static void* append(void* value, const std::string& key) {
    return &(*static_cast<Value*>(value))[key];
  }
  static void clear(void* value) { static_cast<Value*>(value)->clear(); }
  static const std::string* key(const void* value, size_t i) {
    return &std::next(static_cast<const Value*>(value)->begin(), static_cast<std::ptrdiff_t>(i))
                ->first;
  }
  static constexpr Type type{.kind = Kind::kMap,
                             .make = &make_default<Value>,
                             .element = &type_of<T>,
                             .size = &size,
                             .at = &at,
                             .append = &append,
                             .clear = &clear,
                             .key = &key};
};

template <class Base>
struct TypeOf<Choice<Base>> {
  static constexpr auto hinter() -> std::string (*)(std::string_view) {
    if constexpr (requires { Base::name_hint(std::string_view()); }) return &Base::name_hint;
    return nullptr;
  }
  static constexpr Type type{.kind = Kind::kChoice,
                             .make = &make_default<Choice<Base>>,
                             .choices = &Base::choices,
                             .default_choice = Base::kDefaultChoice,
                             .name_hint = hinter()};
};

}  // namespace detail

template <class T>
const Type& type_of() {
  return detail::TypeOf<T>::type;
}

/// The word of an enum's value.
template <class Enum>
std::string word_of(Enum value) {
  return type_of<Enum>().word(&value);
}

}  // namespace levanter::config

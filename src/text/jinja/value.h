// The values of a template: Python's, as far as templates see them. Only namespaces can change.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/strings.h"

namespace levanter::text::jinja {

class Value;
struct Dict;
struct Function;
struct LoopState;
using List = std::vector<Value>;

/// What goes wrong in a template, before its place is known.
struct Fault {
  std::string message;
  std::string allowed = {};
  std::string hint = {};
  int line = 0;  ///< 0 until the node that failed fills it in
};

/// Throws the Fault whose message these texts and numbers make.
template <class... Parts>
[[noreturn]] void fail(const Parts&... parts) {
  throw Fault{cat(parts...)};
}

/// The longest text that a template may make, and the deepest nesting of its lists and dicts.
inline constexpr size_t kMaxText = size_t{256} << 20;
inline constexpr int kMaxValueDepth = 200;

/// What one rendering may do, on the thread that it runs on: steps of about 0.1 us in all, and
/// bytes of texts and lists at a time. It holds from its making to its end; work outside of any is
/// free.
class Budget final {
 public:
  static constexpr size_t kBytes = kMaxText;

  explicit Budget(size_t steps) : steps_(steps), outer_(std::exchange(current_, this)) {}
  ~Budget() { current_ = outer_; }
  Budget(const Budget&) = delete;
  Budget& operator=(const Budget&) = delete;

  /// Counts steps. error Fault when there are too many
  static void spend(size_t steps);
  /// error  Fault when these bytes and those held together are too many
  static void check(size_t bytes);
  /// Counts bytes that are made, until they are released, and the steps that making them takes.
  /// error  as spend and check
  static void hold(size_t bytes);
  static void release(size_t bytes);

 private:
  static thread_local Budget* current_;
  size_t steps_, spent_ = 0, held_ = 0;
  Budget* outer_;
};

/// One value, cheap to copy: what is large is shared and never changes.
class Value final {
 public:
  enum class Kind : uint8_t {
    kUndefined,
    kNone,
    kBool,
    kInt,
    kFloat,
    kString,
    kList,
    kTuple,
    kDict,
    kNamespace,
    kFunction,
    kLoop,
  };

  Value() = default;  ///< undefined, without a name
  /// `what` completes an error: "'tools' is undefined".
  static Value undefined(std::string what) { return {Kind::kUndefined, share(std::move(what))}; }
  static Value none() { return Value(Kind::kNone); }
  static Value boolean(bool value) { return Value(Kind::kBool, value ? 1 : 0); }
  static Value integer(int64_t value) { return Value(Kind::kInt, value); }
  static Value real(double value);
  /// error  Fault when it is longer than kMaxText
  static Value string(std::string value);
  static Value string(std::string_view value) { return string(std::string(value)); }
  static Value string(const char* value) { return string(std::string(value)); }
  /// A list or a tuple. error Fault when the items are nested deeper than kMaxValueDepth
  static Value sequence(Kind kind, List items);
  static Value list(List items) { return sequence(Kind::kList, std::move(items)); }
  static Value tuple(List items) { return sequence(Kind::kTuple, std::move(items)); }
  static Value dict(Dict items);
  static Value name_space(std::shared_ptr<Dict> items) { return {Kind::kNamespace, items}; }
  static Value function(Function function);
  static Value loop(std::shared_ptr<LoopState> state) { return {Kind::kLoop, state}; }

  Kind kind() const { return kind_; }
  bool is(Kind kind) const { return kind_ == kind; }
  bool is_sequence() const { return is(Kind::kList) || is(Kind::kTuple); }
  bool is_number() const { return is(Kind::kBool) || is(Kind::kInt) || is(Kind::kFloat); }
  bool is_whole() const { return is(Kind::kBool) || is(Kind::kInt); }

  bool as_bool() const { return whole_ != 0; }
  int64_t as_int() const { return whole_; }
  double as_real() const { return is(Kind::kFloat) ? real_ : static_cast<double>(whole_); }
  const std::string& as_string() const { return object<std::string>(); }
  const List& items() const { return object<List>(); }
  std::shared_ptr<const List> shared_items() const {
    return std::static_pointer_cast<const List>(object_);
  }
  const Dict& as_dict() const { return object<Dict>(); }
  Dict& as_namespace() const { return const_cast<Dict&>(object<Dict>()); }
  const Function& as_function() const { return object<Function>(); }
  LoopState& as_loop() const { return const_cast<LoopState&>(object<LoopState>()); }
  /// What an error says of an undefined value.
  std::string why_undefined() const { return object_ ? as_string() : "it is undefined"; }
  /// Whether both are the very same object.
  bool same_as(const Value& other) const;

 private:
  explicit Value(Kind kind, int64_t whole = 0) : kind_(kind), whole_(whole) {}
  Value(Kind kind, std::shared_ptr<const void> object) : kind_(kind), object_(std::move(object)) {}
  /// An object whose bytes the budget holds as long as it lives.
  template <class T>
  struct Held {
    Held(T&& made, size_t size) : object(std::move(made)), bytes(size) { Budget::hold(bytes); }
    ~Held() { Budget::release(bytes); }
    T object;
    size_t bytes;
  };
  template <class T>
  static std::shared_ptr<const T> share(T value, size_t bytes = 0) {
    auto held = std::make_shared<Held<T>>(std::move(value), bytes + sizeof(Held<T>));
    return {held, &held->object};
  }
  /// Makes this deep enough to hold the item.
  void deepen_for(const Value& item);
  template <class T>
  const T& object() const {
    return *static_cast<const T*>(object_.get());
  }

  Kind kind_ = Kind::kUndefined;
  int depth_ = 0;  // levels of lists and dicts
  union {
    int64_t whole_ = 0;
    double real_;
  };
  std::shared_ptr<const void> object_;
};
using Kind = Value::Kind;

/// Keys and values in the order of their insertion.
struct Dict {
  std::vector<std::pair<Value, Value>> entries;

  const Value* find(std::string_view key) const;
  const Value* find(const Value& key) const;
  void set(const Value& key, Value value);
};

/// What a function is called with.
struct Arguments {
  List positional;
  std::vector<std::pair<std::string, Value>> named;

  /// The argument at `place` or of that name; nullptr when it was not given.
  const Value* find(size_t place, std::string_view name) const;
};

class Evaluator;
struct Function {
  std::string name;
  std::function<Value(Evaluator&, const Arguments&)> call;
};

/// A loop that runs: what `loop` gives.
struct LoopState {
  std::shared_ptr<const List> items;
  size_t index = 0;
  Value changed;  ///< what loop.changed saw last
  bool has_changed = false;
};

/// Python's name of the value's type: "str", "list", "NoneType".
std::string_view type_name(const Value& value);
/// The value. error Fault when it is undefined
const Value& need_defined(const Value& value);
bool truth(const Value& value);
/// Python's str(): as {{ }} prints it.
std::string to_text(const Value& value);
/// Python's repr(): as it stands inside a printed list.
std::string to_repr(const Value& value);
bool equal(const Value& a, const Value& b);
/// Negative, 0 or positive. error Fault for values without an order, naming `op`.
int compare(const Value& a, const Value& b, std::string_view op);
/// Whether `item` is in a list, the keys of a dict, or a text.
bool contains(const Value& container, const Value& item);
/// Each piece as a value.
List texts_of(const std::vector<std::string_view>& pieces);
/// The items that a loop over the value visits. error Fault for what can't be looped over.
List iterate(const Value& value);
/// Items, keys or characters. error Fault for what has no length.
int64_t length(const Value& value);

}  // namespace levanter::text::jinja

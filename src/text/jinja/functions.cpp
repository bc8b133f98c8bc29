// The functions that every template can call, and how all that templates call takes its arguments.
#include <ctime>

#include "text/jinja/builtins.h"

namespace levanter::text::jinja {
namespace {

constexpr int64_t kMaxRange = 100'000;  // as Jinja's sandbox has it

Value range(const Call& c) {
  int64_t bounds[3] = {0, 0, 1};
  const size_t count = c.given.positional.size();
  if (count == 0) fail("range needs a number");
  for (size_t i = 0; i < count; ++i) {
    const Value& value = need_defined(c.given.positional[i]);
    if (!value.is_whole())
      fail("range needs whole numbers, not a value of type ", type_name(value));
    bounds[count == 1 ? 1 : i] = value.as_int();
  }
  const auto [start, stop, step] = bounds;
  if (step == 0) fail("the step of a range can't be 0");
  const double steps =
      (static_cast<double>(stop) - static_cast<double>(start)) / static_cast<double>(step);
  if (steps > static_cast<double>(kMaxRange))
    throw Fault{"the range is too long", cat("at most ", format_count(kMaxRange), " numbers")};
  List items;
  for (int64_t i = start; step > 0 ? i < stop : i > stop;) {
    items.push_back(Value::integer(i));
    if (__builtin_add_overflow(i, step, &i)) break;
  }
  return Value::list(std::move(items));
}

/// What dict() and namespace() are given: a dict or pairs, then names.
Dict dict_of(const Arguments& arguments, std::string_view what) {
  Dict dict;
  if (arguments.positional.size() > 1) fail(what, " takes one dict and names");
  if (!arguments.positional.empty() && arguments.positional[0].is(Kind::kDict)) {
    dict = arguments.positional[0].as_dict();
  } else if (!arguments.positional.empty()) {
    for (const Value& pair : iterate(arguments.positional[0])) {
      const List both = iterate(pair);
      if (both.size() != 2) fail(what, " takes pairs of key and value");
      dict.set(both[0], both[1]);
    }
  }
  for (const auto& [name, value] : arguments.named) dict.set(Value::string(name), value);
  return dict;
}

Value raise_exception(const Call& c) {
  fail("the template refuses the chat: ", to_text(c.need("message")));
}

Value time_text(const Call& c) {
  const Value& format = c.need("format");
  if (!format.is(Kind::kString) || format.as_string().size() > 500)
    fail("strftime_now needs a format of at most 500 bytes");
  if (!c.evaluator.now_seconds())
    throw Fault{"the template asks for the date, and there is none", "",
                "set date = \"2024-07-26\", or another day"};
  const auto now = static_cast<std::time_t>(*c.evaluator.now_seconds());
  std::tm parts{};
  ::gmtime_r(&now, &parts);
  char buffer[4096];
  return Value::string(std::string(
      buffer, std::strftime(buffer, sizeof buffer, format.as_string().c_str(), &parts)));
}

constexpr Builtin<Value> kFunctions[] = {
    {{"range"}, "range(start, stop, step)", range},
    {{"raise_exception"}, "raise_exception(message, ...)", raise_exception},
    {{"dict"}, "(...)", [](const Call& c) { return Value::dict(dict_of(c.given, "dict")); }},
    {{"namespace"},
     "(...)",
     [](const Call& c) { return c.evaluator.name_space(dict_of(c.given, "namespace")); }},
    {{"strftime_now"}, "strftime_now(format)", time_text},
};

}  // namespace

Dict global_functions() {
  Dict functions;
  for (const auto& row : kFunctions)
    functions.entries.emplace_back(Value::string(row.names[0]), bound(Value(), row.names[0], row));
  return functions;
}

// ---- how all builtins take their arguments ----

Call::Call(Evaluator& evaluator, const Value& self, const Arguments& given, std::string_view group,
           std::string_view signature)
    : evaluator(evaluator), self(self), given(given), group_(group) {
  const size_t open = signature.find('(');
  name_ = signature.substr(0, open);
  list_ = signature.substr(open + 1, signature.size() - open - 2);
  if (!list_.empty()) parameters_ = split_at(list_, ", ", -1, false);
  if (!parameters_.empty() && parameters_.back() == "...") return;
  if (given.positional.size() > parameters_.size())
    fail(what(), " takes at most ", levanter::count_of(std::ssize(parameters_), "argument"),
         ", not ", given.positional.size());
  for (const auto& [name, value] : given.named)
    if (std::find(parameters_.begin(), parameters_.end(), name) == parameters_.end())
      throw Fault{cat(what(), " has no argument ", quote(name)),
                  std::string(list_.empty() ? "no arguments" : list_)};
}

std::string Call::what() const {
  return cat(group_, group_.empty() || name_.empty() ? "" : " ", name_);
}

const Value* Call::find(std::string_view parameter) const {
  const auto place = std::find(parameters_.begin(), parameters_.end(), parameter);
  return given.find(static_cast<size_t>(place - parameters_.begin()), parameter);
}

const Value& Call::need(std::string_view parameter) const {
  const Value* found = find(parameter);
  if (found == nullptr) fail(what(), " needs the argument ", quote(parameter));
  return *found;
}

Value Call::get(std::string_view parameter, Value other) const {
  const Value* found = find(parameter);
  return found != nullptr ? *found : other;
}

int64_t Call::whole(std::string_view parameter, std::optional<int64_t> other) const {
  if (other && find(parameter) == nullptr) return *other;
  const Value& value = need(parameter);
  check(value.is_whole(), value, "a whole number");
  return value.as_int();
}

std::string Call::text(std::string_view parameter, std::optional<std::string_view> other) const {
  if (other && find(parameter) == nullptr) return std::string(*other);
  return as_text(need(parameter));
}

const std::string& Call::as_text(const Value& value) const {
  check(need_defined(value).is(Kind::kString), value, "a str");
  return value.as_string();
}

void Call::check(bool fits, const Value& value, std::string_view wants) const {
  if (!fits)
    fail(group_.empty() ? std::string(name_) : cat(group_, " ", quote(name_)), " needs ", wants,
         ", not a value of type ", type_name(value));
}

Value bound(const Value& self, std::string_view name, const Builtin<Value>& builtin) {
  return Value::function(
      {std::string(name), [self, &builtin](Evaluator& evaluator, const Arguments& given) {
         if (self.is(Kind::kString)) Budget::spend(self.as_string().size() / 16);
         if (self.is_sequence()) Budget::spend(self.items().size() / 8);
         return builtin.apply(Call(evaluator, self, given, "", builtin.signature));
       }});
}

}  // namespace levanter::text::jinja

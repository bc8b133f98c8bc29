// The functions that every template can call: range, namespace, dict, raise_exception and others.
#include <ctime>

#include "base/strings.h"
#include "text/jinja/builtins.h"
#include "text/jinja/evaluator.h"

namespace levanter::text::jinja {
namespace {

using Kind = Value::Kind;

constexpr int64_t kMaxRange = 100'000;  // as Jinja's sandbox has it

Value range(Evaluator& evaluator, const Arguments& arguments) {
  arguments.allow("range", {"start", "stop", "step"});
  int64_t bounds[3] = {0, 0, 1};
  const size_t count = arguments.positional.size();
  if (count == 0) throw Fault{"range needs a number", "", ""};
  for (size_t i = 0; i < count; ++i) {
    const Value& value = arguments.positional[i];
    if (value.is(Kind::kUndefined)) throw Fault{value.why_undefined(), "", ""};
    if (!value.is_whole())
      throw Fault{cat("range needs whole numbers, not a value of type ", type_name(value)), "", ""};
    bounds[count == 1 ? 1 : i] = value.as_int();
  }
  const auto [start, stop, step] = bounds;
  if (step == 0) throw Fault{"the step of a range can't be 0", "", ""};
  const double steps =
      (static_cast<double>(stop) - static_cast<double>(start)) / static_cast<double>(step);
  if (steps > static_cast<double>(kMaxRange))
    throw Fault{"the range is too long", cat("at most ", format_count(kMaxRange), " numbers"), ""};
  List items;
  for (int64_t i = start; step > 0 ? i < stop : i > stop;) {
    items.push_back(Value::integer(i));
    if (__builtin_add_overflow(i, step, &i)) break;
  }
  evaluator.spend(items.size());
  return Value::list(std::move(items));
}

/// What dict() and namespace() are given: a dict or pairs, then names.
Dict dict_of(const Arguments& arguments, std::string_view what) {
  Dict dict;
  if (arguments.positional.size() > 1) throw Fault{cat(what, " takes one dict and names"), "", ""};
  if (!arguments.positional.empty()) {
    const Value& given = arguments.positional[0];
    if (given.is(Kind::kDict)) {
      dict = given.as_dict();
    } else {
      for (const Value& pair : iterate(given)) {
        const List both = iterate(pair);
        if (both.size() != 2) throw Fault{cat(what, " takes pairs of key and value"), "", ""};
        dict.set(both[0], both[1]);
      }
    }
  }
  for (const auto& [name, value] : arguments.named) dict.set(Value::string(name), value);
  return dict;
}

Value raise_exception(Evaluator&, const Arguments& arguments) {
  throw Fault{cat("the template refuses the chat: ",
                  to_text(arguments.need(0, "message", "raise_exception"))),
              "", ""};
}

Value time_text(const Arguments& arguments, std::optional<int64_t> now_seconds) {
  arguments.allow("strftime_now", {"format"});
  const Value format = arguments.need(0, "format", "strftime_now");
  if (!format.is(Kind::kString) || format.as_string().size() > 500)
    throw Fault{"strftime_now needs a format of at most 500 bytes", "", ""};
  if (!now_seconds)
    throw Fault{"the template asks for the date, and there is none", "",
                "set date = \"2024-07-26\", or another day"};
  const auto now = static_cast<std::time_t>(*now_seconds);
  std::tm parts{};
  ::gmtime_r(&now, &parts);
  char buffer[4096];
  return Value::string(std::string(
      buffer, std::strftime(buffer, sizeof buffer, format.as_string().c_str(), &parts)));
}

}  // namespace

void Evaluator::add_functions() {
  const auto add = [&](const char* name, auto call) {
    functions_.entries.emplace_back(Value::string(name), Value::function({name, call}));
  };
  add("range", range);
  add("raise_exception", raise_exception);
  add("dict", [](Evaluator&, const Arguments& arguments) {
    return Value::dict(dict_of(arguments, "dict"));
  });
  add("namespace", [](Evaluator& self, const Arguments& arguments) {
    self.namespaces_.push_back(std::make_shared<Dict>(dict_of(arguments, "namespace")));
    return Value::name_space(self.namespaces_.back());
  });
  add("strftime_now", [](Evaluator& self, const Arguments& arguments) {
    return time_text(arguments, self.now_seconds_);
  });
}

}  // namespace levanter::text::jinja

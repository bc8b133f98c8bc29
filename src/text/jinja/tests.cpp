// The tests of templates: what may stand behind "is".
#include "text/jinja/builtins.h"

namespace levanter::text::jinja {
namespace {

int64_t whole(const Value& value, std::string_view test) {
  if (!need_defined(value).is_whole())
    fail("the test ", quote(test), " needs a whole number, not a value of type ", type_name(value));
  return value.as_int();
}

const Value& other(const Call& c) {
  if (c.find("other") == nullptr) fail("the test needs the argument \"other\"");
  return c.need("other");
}

template <Kind kind>
bool is_a(const Call& c) {
  return c.self.is(kind);
}

template <bool value>
bool is_bool(const Call& c) {
  return c.self.is(Kind::kBool) && c.self.as_bool() == value;
}

bool is_divisible(const Call& c) {
  const int64_t by = whole(other(c), "divisibleby");
  if (by == 0) fail("nothing is divisible by 0");
  return by == -1 || whole(c.self, "divisibleby") % by == 0;
}

bool is_sequence(const Call& c) {
  return c.self.is_sequence() || c.self.is(Kind::kString) || c.self.is(Kind::kDict) ||
         c.self.is(Kind::kUndefined);
}

bool is_filter(const Call& c) {
  const std::vector<std::string> names = filter_names();
  return std::find(names.begin(), names.end(), to_text(c.self)) != names.end();
}

bool is_test(const Call& c);

constexpr std::string_view kAny = "(...)", kOther = "a test(other)";

constexpr Builtin<bool> kTests[] = {
    {{"==", "eq", "equalto"}, kOther, [](const Call& c) { return equal(c.self, other(c)); }},
    {{"!=", "ne"}, kOther, [](const Call& c) { return !equal(c.self, other(c)); }},
    {{"<", "lt", "lessthan"},
     kOther,
     [](const Call& c) { return compare(c.self, other(c), "<") < 0; }},
    {{"<=", "le"}, kOther, [](const Call& c) { return compare(c.self, other(c), "<=") <= 0; }},
    {{">", "gt", "greaterthan"},
     kOther,
     [](const Call& c) { return compare(c.self, other(c), ">") > 0; }},
    {{">=", "ge"}, kOther, [](const Call& c) { return compare(c.self, other(c), ">=") >= 0; }},
    {{"in"}, kOther, [](const Call& c) { return contains(other(c), c.self); }},
    {{"sameas"}, kOther, [](const Call& c) { return c.self.same_as(other(c)); }},
    {{"divisibleby"}, kOther, is_divisible},
    {{"boolean"}, kAny, is_a<Kind::kBool>},
    {{"callable"}, kAny, is_a<Kind::kFunction>},
    {{"defined"}, kAny, [](const Call& c) { return !c.self.is(Kind::kUndefined); }},
    {{"even"}, kAny, [](const Call& c) { return whole(c.self, "even") % 2 == 0; }},
    {{"false"}, kAny, is_bool<false>},
    {{"filter"}, kAny, is_filter},
    {{"float"}, kAny, is_a<Kind::kFloat>},
    {{"integer"}, kAny, is_a<Kind::kInt>},
    {{"iterable", "sequence"}, kAny, is_sequence},
    {{"lower"}, kAny, [](const Call& c) { return is_lower(to_text(c.self)); }},
    {{"mapping"}, kAny, is_a<Kind::kDict>},
    {{"none"}, kAny, is_a<Kind::kNone>},
    {{"number"}, kAny, [](const Call& c) { return c.self.is_number(); }},
    {{"odd"}, kAny, [](const Call& c) { return whole(c.self, "odd") % 2 != 0; }},
    {{"string"}, kAny, is_a<Kind::kString>},
    {{"test"}, kAny, is_test},
    {{"true"}, kAny, is_bool<true>},
    {{"undefined"}, kAny, is_a<Kind::kUndefined>},
    {{"upper"}, kAny, [](const Call& c) { return is_upper(to_text(c.self)); }},
};

bool is_test(const Call& c) { return find_builtin(kTests, to_text(c.self)) != nullptr; }

}  // namespace

std::vector<std::string> test_names() { return names_of(kTests); }

bool apply_test(Evaluator& evaluator, const std::string& name, const Value& input,
                const Arguments& arguments) {
  const auto* test = find_builtin(kTests, name);
  if (test == nullptr) throw Fault{cat("there is no test ", quote(name)), join(test_names(), ", ")};
  return test->apply(Call(evaluator, input, arguments, "", test->signature));
}

}  // namespace levanter::text::jinja

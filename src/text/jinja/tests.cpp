// The tests of templates: what may stand behind "is".
#include <algorithm>

#include "base/strings.h"
#include "text/jinja/builtins.h"
#include "text/jinja/strings.h"

namespace levanter::text::jinja {
namespace {

using Kind = Value::Kind;

struct Test {
  const char* name;
  bool (*holds)(const Value&, const Arguments&);
};

int64_t whole(const Value& value, std::string_view test) {
  if (value.is_whole()) return value.as_int();
  if (value.is(Kind::kUndefined)) throw Fault{value.why_undefined(), "", ""};
  throw Fault{cat("the test ", quote(test), " needs a whole number, not a value of type ",
                  type_name(value)),
              "", ""};
}

const Value& other(const Arguments& arguments) {
  arguments.allow("a test", {"other"});
  return arguments.need(0, "other", "the test");
}

bool is_kind_of(const Value& value, std::initializer_list<Kind> kinds) {
  return std::find(kinds.begin(), kinds.end(), value.kind()) != kinds.end();
}

bool same(const Value& a, const Arguments& b) { return equal(a, other(b)); }
bool differs(const Value& a, const Arguments& b) { return !equal(a, other(b)); }
bool below(const Value& a, const Arguments& b) { return compare(a, other(b), "<") < 0; }
bool above(const Value& a, const Arguments& b) { return compare(a, other(b), ">") > 0; }
bool at_most(const Value& a, const Arguments& b) { return compare(a, other(b), "<=") <= 0; }
bool at_least(const Value& a, const Arguments& b) { return compare(a, other(b), ">=") >= 0; }
bool is_sequence(const Value& a, const Arguments&) {
  return is_kind_of(a, {Kind::kList, Kind::kTuple, Kind::kString, Kind::kDict, Kind::kUndefined});
}

constexpr Test kTests[] = {
    {"!=", differs},
    {"<", below},
    {"<=", at_most},
    {"==", same},
    {">", above},
    {">=", at_least},
    {"boolean", [](const Value& a, const Arguments&) { return a.is(Kind::kBool); }},
    {"callable", [](const Value& a, const Arguments&) { return a.is(Kind::kFunction); }},
    {"defined", [](const Value& a, const Arguments&) { return !a.is(Kind::kUndefined); }},
    {"divisibleby",
     [](const Value& a, const Arguments& b) {
       const int64_t by = whole(other(b), "divisibleby");
       if (by == 0) throw Fault{"nothing is divisible by 0", "", ""};
       return by == -1 || whole(a, "divisibleby") % by == 0;
     }},
    {"eq", same},
    {"equalto", same},
    {"even", [](const Value& a, const Arguments&) { return whole(a, "even") % 2 == 0; }},
    {"false", [](const Value& a, const Arguments&) { return a.is(Kind::kBool) && !a.as_bool(); }},
    {"filter", [](const Value& a, const Arguments&) { return has_filter(to_text(a)); }},
    {"float", [](const Value& a, const Arguments&) { return a.is(Kind::kFloat); }},
    {"ge", at_least},
    {"greaterthan", above},
    {"gt", above},
    {"in", [](const Value& a, const Arguments& b) { return contains(other(b), a); }},
    {"integer", [](const Value& a, const Arguments&) { return a.is(Kind::kInt); }},
    {"iterable", is_sequence},
    {"le", at_most},
    {"lessthan", below},
    {"lower",
     [](const Value& a, const Arguments&) {
       const std::string text = to_text(a);
       return to_lower(text) == text && to_upper(text) != text;
     }},
    {"lt", below},
    {"mapping", [](const Value& a, const Arguments&) { return a.is(Kind::kDict); }},
    {"ne", differs},
    {"none", [](const Value& a, const Arguments&) { return a.is(Kind::kNone); }},
    {"number", [](const Value& a, const Arguments&) { return a.is_number(); }},
    {"odd", [](const Value& a, const Arguments&) { return whole(a, "odd") % 2 != 0; }},
    {"sameas", [](const Value& a, const Arguments& b) { return a.same_as(other(b)); }},
    {"sequence", is_sequence},
    {"string", [](const Value& a, const Arguments&) { return a.is(Kind::kString); }},
    {"test", [](const Value& a, const Arguments&) { return has_test(to_text(a)); }},
    {"true", [](const Value& a, const Arguments&) { return a.is(Kind::kBool) && a.as_bool(); }},
    {"undefined", [](const Value& a, const Arguments&) { return a.is(Kind::kUndefined); }},
    {"upper",
     [](const Value& a, const Arguments&) {
       const std::string text = to_text(a);
       return to_upper(text) == text && to_lower(text) != text;
     }},
};

const Test* find_test(std::string_view name) {
  const Test* found = std::find_if(std::begin(kTests), std::end(kTests),
                                   [&](const Test& test) { return test.name == name; });
  return found == std::end(kTests) ? nullptr : found;
}

}  // namespace

bool has_test(std::string_view name) { return find_test(name) != nullptr; }

std::vector<std::string> test_names() {
  std::vector<std::string> names;
  for (const Test& test : kTests)
    if (test.name[0] >= 'a') names.emplace_back(test.name);
  return names;
}

bool apply_test(Evaluator&, const std::string& name, const Value& input,
                const Arguments& arguments) {
  const Test* test = find_test(name);
  if (test == nullptr)
    throw Fault{cat("there is no test ", quote(name)), join(test_names(), ", "), ""};
  return test->holds(input, arguments);
}

}  // namespace levanter::text::jinja

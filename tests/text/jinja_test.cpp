// Templates of every construct against what Python's Jinja renders, and what is refused.
#include "text/chat_template.h"

#include <catch2/catch.hpp>

#include <nlohmann/json.hpp>

#include "base/files.h"
#include "base/strings.h"
#include "support/fault.h"
#include "support/golden.h"

using namespace levanter;
using namespace levanter::text;
using levanter::testing::failure_of;

namespace {

std::string render(std::string_view source, std::string_view variables = "{}") {
  return ChatTemplate(source, "t.jinja").render(variables).text;
}

std::string error(std::string_view source, std::string_view variables = "{}") {
  return failure_of(ErrorKind::kData, [&] { render(source, variables); });
}

}  // namespace

TEST_CASE("templates render as Python's Jinja renders them", "[text]") {
  std::vector<nlohmann::ordered_json> cases;
  for (const std::string& line : split(read_file(testing::golden_path("jinja.jsonl")), '\n'))
    if (!line.empty()) cases.push_back(nlohmann::ordered_json::parse(line));
  const std::string variables = cases.back()["variables"].dump();
  cases.pop_back();
  REQUIRE(cases.size() > 500);
  for (const auto& one : cases) {
    const std::string source = one["template"];
    INFO(source);
    if (one.contains("fails")) {
      CHECK(error(source, variables).starts_with("error: "));
      continue;
    }
    Rendered rendered;
    CHECK_NOTHROW(rendered = ChatTemplate(source, "t.jinja").render(variables));
    CHECK(rendered.text == one["text"].get<std::string>());
    std::vector<ByteSpan> spans;
    for (const auto& span : one["generation"]) spans.push_back({span[0], span[1]});
    CHECK(rendered.generation == spans);
  }
}

TEST_CASE("what is not supported is refused with its line and construct", "[text]") {
  constexpr char kTags[] =
      "\n  allowed  if, for, set, macro, call, filter, with, generation, break, continue, raw";
  CHECK(error("a\nb {% include 'x' %}") ==
        cat("error: {% include %} is not supported\n  at       t.jinja:2", kTags));
  CHECK(error("{% for x in y recursive %}{% endfor %}") ==
        "error: a recursive loop is not supported\n  at       t.jinja:1\n"
        "  hint     write a macro that calls itself");
  CHECK_THAT(error("\n\n{{ x | uper }}"),
             Catch::StartsWith("error: there is no filter \"uper\"\n  at       t.jinja:3\n") &&
                 Catch::Contains("did you mean \"upper\""));
  CHECK_THAT(error("{{ x is strng }}"), Catch::StartsWith("error: there is no test \"strng\"") &&
                                            Catch::Contains("did you mean \"string\""));
  CHECK(error("{{ f(*a) }}") == "error: arguments by * are not supported\n  at       t.jinja:1");
  CHECK_THAT(error("{{ dict(a=1, **{'a': 2}) }}"), Catch::Contains("can't give the argument a:"));
  CHECK_THAT(error("{{ dict(**[1]) }}"),
             Catch::Contains("** needs a dict, not a value of type list"));
}

TEST_CASE("a template that is broken is refused where it begins to be", "[text]") {
  const auto at = [](std::string_view what, int line) {
    return cat("error: ", what, "\n  at       t.jinja:", line);
  };
  CHECK(error("x\n{% if a %}\ny\n") == at("a block is never closed: {% endif %} is missing", 2));
  CHECK(error("x\n{% for a in b %}{% else %}\n") ==
        at("a block is never closed: {% endfor %} is missing", 2));
  CHECK(error("\n{% endif %}") == at("{% endif %} closes nothing that is open here", 2));
  CHECK(error("{{ 1 + }}") == at("an expression should stand before }}", 1));
  CHECK(error("\n{{ a b }}") == at("}} should stand before \"b\"", 2));
  CHECK(error("{{ (1] }}") == at("\"]\" stands where \")\" should", 1));
  CHECK(error("{{ $ }}") == at("\"$\" is not part of the template language", 1));
  CHECK(error("\n{{ 'abc }}") ==
        "error: a string is never closed\n  at       t.jinja:2\n"
        "  hint     close it with '");
  CHECK_THAT(error("\n{{ x"), Catch::StartsWith(at("{{ is never closed", 2)));
  CHECK_THAT(error("a\n{# x"), Catch::StartsWith(at("a comment {# is never closed", 2)));
  CHECK_THAT(error("a\n{% raw %} x"), Catch::StartsWith(at("{% raw %} is never closed", 2)));
  CHECK(error("{% break %}") == at("{% break %} stands outside of a loop", 1));
}

TEST_CASE("what goes wrong while rendering names the line", "[text]") {
  CHECK(error("a\n{{ raise_exception('roles must alternate') }}") ==
        "error: the template refuses the chat: roles must alternate\n  at       t.jinja:2");
  CHECK(error("\n{{ a.b }}") ==
        "error: \"a\" is undefined, so it has no attribute \"b\"\n  at       t.jinja:2\n"
        "  hint     test it before: {% if x is defined %}");
  CHECK(error("{{ 'n: ' + n }}", R"({"n": 1})") ==
        "error: '+' can't join str and int\n  at       t.jinja:1\n"
        "  hint     ~ joins texts with any value");
  CHECK(error("{% set _ = l.append(1) %}", R"({"l": []})") ==
        "error: a template may not change a list\n  at       t.jinja:1\n"
        "  hint     make a new one and set it: {% set ns.items = ns.items + [x] %}");
  CHECK(error("{{ 9223372036854775807 + 1 }}") ==
        "error: a whole number grows beyond 64 bits\n  at       t.jinja:1");
  CHECK_THAT(error("{% macro m() %}{% generation %}x{% endgeneration %}{% endmacro %}{{ m() }}"),
             Catch::Contains("{% generation %} stands inside a macro"));
  CHECK_THAT(error("x", "[1]"), Catch::Contains("not a JSON object"));
  CHECK_THAT(error("x", "{"), Catch::Contains("not JSON"));
}

TEST_CASE("a hostile template ends with an error", "[text]") {
  CHECK_THAT(error("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}"),
             Catch::Contains("call each other too deeply"));
  CHECK_THAT(
      error("{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}"),
      Catch::Contains("too much work"));
  CHECK_THAT(error("{{ range(100001) }}"), Catch::Contains("the range is too long"));
  CHECK_THAT(error("{{ 'a' * 999999999 }}"), Catch::Contains("a text of more than 256.0 MiB"));
  CHECK_THAT(error("{{ [0] * 9999999999 }}"), Catch::Contains("too much work"));
  CHECK_THAT(error("{% set ns = namespace(x='aaaaaaaa') %}{% for i in range(99) %}"
                   "{% set ns.x = ns.x + ns.x %}{% endfor %}"),
             Catch::Contains("too much work") || Catch::Contains("a text of more than"));
  for (const char* bomb :
       {"{% for i in range(100000) %}{% for j in range(100000) %}{{ 'b' in m }}{% endfor %}{% "
        "endfor %}",
        "{% set ns = namespace(x=[1]) %}{% for i in range(99) %}{% set ns.x = ns.x + ns.x %}{% "
        "endfor %}",
        "{% set ns = namespace(x=[]) %}{% for i in range(190) %}{% set ns.x = [ns.x, ns.x] %}{% "
        "endfor %}"
        "{{ ns.x }}",
        "{% set ns = namespace(x=[], y=[]) %}{% for i in range(190) %}{% set ns.x = [ns.x, ns.x] %}"
        "{% set ns.y = [ns.y, ns.y] %}{% endfor %}{{ ns.x == ns.y }}",
        "{{ (['a' * 100000000] * 100) | join }}", "{{ range(100000) | join('a' * 100000) }}",
        "{{ ('a' * 100000).replace('a', 'b' * 100000) }}", "{{ ('a' * 100000000).split('a') }}",
        "{{ ('a' * 50000000) | list }}",
        "{{ 'a'.ljust(100000000).center(200000000).zfill(300000000) }}",
        "{% for i in range(100000) %}{{ 'a' * 100000 }}{% endfor %}",
        "{% set x = 'a' * 100000000 %}{% for i in range(100000) %}{{ 'b' in x }}{% endfor %}",
        "{% set x = 'a' * 100000000 %}{% for i in range(100000) %}{{ x[99999999] }}{% endfor %}",
        "{% set x = range(100000) %}{% for i in x %}{{ x | sort | length }}{% endfor %}",
        "{% set x = range(100000) %}{% for i in x %}{{ -1 in x }}{% endfor %}"}) {
    INFO(bomb);
    CHECK_THAT(error(bomb),
               Catch::Contains("too much work") || Catch::Contains("a text of more than"));
  }
  CHECK_THAT(error("{% set ns = namespace(x=[]) %}{% for i in range(999) %}"
                   "{% set ns.x = [ns.x, ns.x] %}{% endfor %}"),
             Catch::Contains("nested more than 200 deep"));
  CHECK_THAT(error("{% set ns = namespace(x=1) %}{% set ns.x = ns %}{{ ns }}"),
             Catch::Contains("holds itself"));
  for (const std::string_view open : {"(", "[", "-", "not ", "{% if 1 %}", "{1:", "x["}) {
    std::string source = open.starts_with("{%") ? "" : "{{ ";
    for (int i = 0; i < 100'000; ++i) source += open;
    INFO(open);
    CHECK_THAT(error(source), Catch::Contains("deep") || Catch::Contains("is never closed"));
  }
  std::string sum = "{{ 1";
  for (int i = 0; i < 100'000; ++i) sum += "+1";
  CHECK_THAT(error(sum + " }}"), Catch::Contains("nested more than"));
}

TEST_CASE("the date is the one that is given", "[text]") {
  const ChatTemplate dated("{{ strftime_now('%d %b %Y') }}", "t.jinja");
  CHECK(dated.render("{}", 1'721'952'000).text == "26 Jul 2024");
}

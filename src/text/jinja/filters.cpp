// The filters of templates: what may stand behind "|".
#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <cstdlib>

#include "base/strings.h"
#include "text/jinja/builtins.h"
#include "text/jinja/strings.h"

namespace levanter::text::jinja {
namespace {

using Kind = Value::Kind;

struct Filter {
  const char* name;
  Value (*apply)(Evaluator&, const Value&, const Arguments&);
};

int64_t whole(const Value& value, std::string_view filter) {
  if (!value.is_whole())
    throw Fault{cat("the filter ", quote(filter), " needs a whole number, not a value of type ",
                    type_name(value)),
                "", ""};
  return value.as_int();
}

template <std::string (*change)(std::string_view)>
Value change_text(Evaluator&, const Value& input, const Arguments& a) {
  a.allow("the filter", {});
  return Value::string(change(to_text(input)));
}

/// What the item is ordered by: its attribute, in lower case unless case matters.
Value sort_key(const Value& item, const Value& attribute, bool case_sensitive) {
  Value key = attribute.is(Kind::kNone) ? item : get_path(item, attribute);
  return key.is(Kind::kString) && !case_sensitive ? Value::string(to_lower(key.as_string())) : key;
}

Value default_value(Evaluator&, const Value& input, const Arguments& a) {
  a.allow("the filter default", {"default_value", "boolean"});
  const bool missing = input.is(Kind::kUndefined) ||
                       (truth(a.get(1, "boolean", Value::boolean(false))) && !truth(input));
  return missing ? a.get(0, "default_value", Value::string("")) : input;
}

Value tojson(Evaluator& evaluator, const Value& input, const Arguments& a) {
  a.allow("the filter tojson", {"ensure_ascii", "indent", "separators", "sort_keys"});
  const Value indent = a.get(1, "indent", Value::none());
  const Value separators = a.get(2, "separators", Value::none());
  const int64_t width =
      indent.is(Kind::kNone) ? -1 : std::clamp<int64_t>(whole(indent, "tojson"), 0, 100);
  std::string item = width < 0 ? ", " : ",", key = ": ";
  if (separators.is_sequence() && separators.items().size() == 2) {
    item = to_text(separators.items()[0]);
    key = to_text(separators.items()[1]);
  }
  std::string out = to_json(input, static_cast<int>(width),
                            truth(a.get(0, "ensure_ascii", Value::boolean(false))),
                            truth(a.get(3, "sort_keys", Value::boolean(false))), item, key);
  evaluator.spend(out.size() / 16);
  return Value::string(std::move(out));
}

Value join_items(Evaluator&, const Value& input, const Arguments& a) {
  a.allow("the filter join", {"d", "attribute"});
  const std::string between = to_text(a.get(0, "d", Value::string("")));
  const Value attribute = a.get(1, "attribute", Value::none());
  std::string out;
  bool first = true;
  for (const Value& item : iterate(input)) {
    if (!std::exchange(first, false)) out += between;
    out += to_text(attribute.is(Kind::kNone) ? item : get_path(item, attribute));
    check_text_size(out.size());
  }
  return Value::string(std::move(out));
}

Value indent_lines(Evaluator&, const Value& input, const Arguments& a) {
  a.allow("the filter indent", {"width", "first", "blank"});
  const Value width = a.get(0, "width", Value::integer(4));
  const std::string margin =
      width.is(Kind::kString) ? width.as_string() : repeat(" ", whole(width, "indent"));
  const bool blank = truth(a.get(2, "blank", Value::boolean(false)));
  std::string out = truth(a.get(1, "first", Value::boolean(false))) ? margin : "";
  bool first = true;
  for (const std::string& line : split_lines(to_text(input) + "\n")) {
    if (!first) out += "\n";
    if (!first && (blank || !line.empty())) out += margin;
    out += line;
    first = false;
    check_text_size(out.size());
  }
  return Value::string(std::move(out));
}

Value round_number(Evaluator&, const Value& input, const Arguments& a) {
  a.allow("the filter round", {"precision", "method"});
  const int64_t precision =
      std::clamp<int64_t>(whole(a.get(0, "precision", Value::integer(0)), "round"), -300, 300);
  const std::string method = to_text(a.get(1, "method", Value::string("common")));
  if (!input.is_number())
    throw Fault{cat("the filter \"round\" needs a number, not a value of type ", type_name(input)),
                "", ""};
  const double value = input.as_real();
  if (method == "common") {
    if (input.is_whole() && precision >= 0) return Value::integer(input.as_int());
    if (!std::isfinite(value)) return input;
    if (precision >= 0) {
      char digits[700];
      std::snprintf(digits, sizeof digits, "%.*f", static_cast<int>(precision), value);
      return Value::real(std::strtod(digits, nullptr));
    }
    const double unit = std::pow(10.0, static_cast<double>(-precision));
    const double rounded = std::nearbyint(value / unit) * unit;
    const bool fits = std::abs(rounded) < 9e18;
    return input.is_whole() && fits ? Value::integer(static_cast<int64_t>(rounded))
                                    : Value::real(rounded);
  }
  if (method != "ceil" && method != "floor")
    throw Fault{cat("the filter \"round\" has no method ", quote(method)), "common, ceil, floor",
                ""};
  const double unit = std::pow(10.0, static_cast<double>(precision));
  return Value::real((method == "ceil" ? std::ceil(value * unit) : std::floor(value * unit)) /
                     unit);
}

bool read_real(std::string_view text, double& value) {
  text = strip(text);
  if (text.starts_with('+')) text.remove_prefix(1);
  const auto end = std::from_chars(text.data(), text.data() + text.size(), value);
  return !text.empty() && end.ec == std::errc() && end.ptr == text.data() + text.size();
}

Value to_whole(Evaluator&, const Value& input, const Arguments& a) {
  a.allow("the filter int", {"default", "base"});
  const Value other = a.get(0, "default", Value::integer(0));
  const int64_t base = whole(a.get(1, "base", Value::integer(10)), "int");
  double real = 0;
  if (input.is_whole()) return Value::integer(input.as_int());
  if (input.is(Kind::kString)) {
    std::string_view text = strip(input.as_string());
    if (text.starts_with('+')) text.remove_prefix(1);
    if (base == 16 && (text.starts_with("0x") || text.starts_with("0X"))) text.remove_prefix(2);
    int64_t value = 0;
    if (base >= 2 && base <= 36) {
      const auto end =
          std::from_chars(text.data(), text.data() + text.size(), value, static_cast<int>(base));
      if (!text.empty() && end.ec == std::errc() && end.ptr == text.data() + text.size())
        return Value::integer(value);
    }
    if (!read_real(text, real)) return other;
  } else if (input.is(Kind::kFloat)) {
    real = input.as_real();
  } else {
    return other;
  }
  if (!(std::abs(real) < 9e18)) return other;
  return Value::integer(static_cast<int64_t>(real));
}

Value to_real(Evaluator&, const Value& input, const Arguments& a) {
  a.allow("the filter float", {"default"});
  double real = 0;
  if (input.is_number()) return Value::real(input.as_real());
  if (input.is(Kind::kString) && read_real(input.as_string(), real)) return Value::real(real);
  return a.get(0, "default", Value::real(0));
}

Value sorted(Evaluator&, const Value& input, const Arguments& a) {
  a.allow("the filter sort", {"reverse", "case_sensitive", "attribute"});
  const bool down = truth(a.get(0, "reverse", Value::boolean(false)));
  const bool cased = truth(a.get(1, "case_sensitive", Value::boolean(false)));
  const Value attribute = a.get(2, "attribute", Value::none());
  std::vector<std::pair<Value, Value>> keyed;
  for (Value& item : iterate(input))
    keyed.emplace_back(sort_key(item, attribute, cased), std::move(item));
  std::stable_sort(keyed.begin(), keyed.end(), [&](const auto& x, const auto& y) {
    return down ? compare(y.first, x.first, "<") < 0 : compare(x.first, y.first, "<") < 0;
  });
  List items;
  for (auto& entry : keyed) items.push_back(std::move(entry.second));
  return Value::list(std::move(items));
}

Value sorted_dict(Evaluator&, const Value& input, const Arguments& a) {
  a.allow("the filter dictsort", {"case_sensitive", "by", "reverse"});
  if (!input.is(Kind::kDict))
    throw Fault{cat("the filter \"dictsort\" needs a dict, not a value of type ", type_name(input)),
                "", ""};
  const bool cased = truth(a.get(0, "case_sensitive", Value::boolean(false)));
  const size_t by = to_text(a.get(1, "by", Value::string("key"))) == "value" ? 1 : 0;
  const bool down = truth(a.get(2, "reverse", Value::boolean(false)));
  List items;
  for (const auto& [key, value] : input.as_dict().entries)
    items.push_back(Value::tuple({key, value}));
  std::stable_sort(items.begin(), items.end(), [&](const Value& x, const Value& y) {
    const Value a_key = sort_key(x.items()[by], Value::none(), cased);
    const Value b_key = sort_key(y.items()[by], Value::none(), cased);
    return down ? compare(b_key, a_key, "<") < 0 : compare(a_key, b_key, "<") < 0;
  });
  return Value::list(std::move(items));
}

Value unique(Evaluator& evaluator, const Value& input, const Arguments& a) {
  a.allow("the filter unique", {"case_sensitive", "attribute"});
  const bool cased = truth(a.get(0, "case_sensitive", Value::boolean(false)));
  const Value attribute = a.get(1, "attribute", Value::none());
  List seen, items;
  for (Value& item : iterate(input)) {
    evaluator.spend(seen.size() / 4);
    Value key = sort_key(item, attribute, cased);
    if (std::any_of(seen.begin(), seen.end(),
                    [&](const Value& other) { return equal(other, key); }))
      continue;
    seen.push_back(std::move(key));
    items.push_back(std::move(item));
  }
  return Value::list(std::move(items));
}

template <int sign>
Value extreme(Evaluator&, const Value& input, const Arguments& a) {
  a.allow("the filter", {"case_sensitive", "attribute"});
  const bool cased = truth(a.get(0, "case_sensitive", Value::boolean(false)));
  const Value attribute = a.get(1, "attribute", Value::none());
  Value best = Value::undefined("the sequence is empty"), best_key;
  bool first = true;
  for (const Value& item : iterate(input)) {
    const Value key = sort_key(item, attribute, cased);
    if (!first && sign * compare(key, best_key, "<") <= 0) continue;
    best = item;
    best_key = key;
    first = false;
  }
  return best;
}

Value sum(Evaluator& evaluator, const Value& input, const Arguments& a) {
  a.allow("the filter sum", {"attribute", "start"});
  const Value attribute = a.get(0, "attribute", Value::none());
  Value total = a.get(1, "start", Value::integer(0));
  for (const Value& item : iterate(input))
    total = arithmetic(evaluator, "+", total,
                       attribute.is(Kind::kNone) ? item : get_path(item, attribute));
  return total;
}

Value map_items(Evaluator& evaluator, const Value& input, const Arguments& a) {
  List items;
  if (a.positional.empty()) {
    a.allow("the filter map", {"attribute", "default"});
    const Value& attribute = a.need(0, "attribute", "the filter map");
    const Value* other = a.find(1, "default");
    for (const Value& item : iterate(input)) items.push_back(get_path(item, attribute, other));
    return Value::list(std::move(items));
  }
  const std::string name = to_text(a.positional[0]);
  Arguments rest{{a.positional.begin() + 1, a.positional.end()}, a.named};
  for (const Value& item : iterate(input))
    items.push_back(apply_filter(evaluator, name, item, rest));
  return Value::list(std::move(items));
}

template <bool by_attribute, bool wanted>
Value pick(Evaluator& evaluator, const Value& input, const Arguments& a) {
  const size_t skip = by_attribute ? 1 : 0;
  if (by_attribute) a.need(0, "attribute", "the filter");
  const bool has_test_name = a.positional.size() > skip;
  Arguments rest;
  if (has_test_name)
    rest.positional.assign(a.positional.begin() + static_cast<ptrdiff_t>(skip) + 1,
                           a.positional.end());
  List items;
  for (const Value& item : iterate(input)) {
    const Value subject = by_attribute ? get_path(item, a.positional[0]) : item;
    const bool holds = has_test_name
                           ? apply_test(evaluator, to_text(a.positional[skip]), subject, rest)
                           : truth(subject);
    if (holds == wanted) items.push_back(item);
  }
  return Value::list(std::move(items));
}

Value group_by(Evaluator& evaluator, const Value& input, const Arguments& a) {
  a.allow("the filter groupby", {"attribute", "default", "case_sensitive"});
  const Value& attribute = a.need(0, "attribute", "the filter groupby");
  const Value other = a.get(1, "default", Value::none());
  const auto key_of = [&](const Value& item) {
    const Value key = get_path(item, attribute);
    return key.is(Kind::kUndefined) ? other : key;
  };
  const Value all = sorted(evaluator, input, {{}, {{"attribute", attribute}}});
  List groups;
  for (size_t i = 0; i < all.items().size();) {
    const Value key = key_of(all.items()[i]);
    List members;
    for (; i < all.items().size() && equal(key_of(all.items()[i]), key); ++i)
      members.push_back(all.items()[i]);
    groups.push_back(Value::tuple({key, Value::list(std::move(members))}));
  }
  return Value::list(std::move(groups));
}

Value batch(Evaluator&, const Value& input, const Arguments& a) {
  a.allow("the filter batch", {"linecount", "fill_with"});
  const int64_t size = whole(a.need(0, "linecount", "the filter batch"), "batch");
  const Value fill = a.get(1, "fill_with", Value::none());
  if (size < 1 || size > 1'000'000)
    throw Fault{"the filter \"batch\" needs a size", "1 to 1,000,000", ""};
  List rows, row;
  const auto end_row = [&] { rows.push_back(Value::list(std::exchange(row, {}))); };
  for (const Value& item : iterate(input)) {
    if (static_cast<int64_t>(row.size()) == size) end_row();
    row.push_back(item);
  }
  if (row.empty()) return Value::list(std::move(rows));
  if (!fill.is(Kind::kNone)) row.resize(static_cast<size_t>(size), fill);
  end_row();
  return Value::list(std::move(rows));
}

Value truncate(Evaluator&, const Value& input, const Arguments& a) {
  a.allow("the filter truncate", {"length", "killwords", "end", "leeway"});
  const int64_t most = whole(a.get(0, "length", Value::integer(255)), "truncate");
  const std::string end = to_text(a.get(2, "end", Value::string("...")));
  const int64_t leeway = whole(a.get(3, "leeway", Value::integer(5)), "truncate");
  const std::string text = to_text(input);
  if (most < character_count(end))
    throw Fault{"the filter \"truncate\" needs a length of at least its end", "", ""};
  if (character_count(text) <= most + leeway) return Value::string(text);
  std::string kept = text.substr(0, byte_of_character(text, most - character_count(end)));
  if (!truth(a.get(1, "killwords", Value::boolean(false)))) kept = kept.substr(0, kept.rfind(' '));
  return Value::string(kept + end);
}

Value replace_text(Evaluator&, const Value& input, const Arguments& a) {
  a.allow("the filter replace", {"old", "new", "count"});
  const Value count = a.get(2, "count", Value::none());
  return Value::string(replace(to_text(input), to_text(a.need(0, "old", "the filter replace")),
                               to_text(a.need(1, "new", "the filter replace")),
                               count.is(Kind::kNone) ? -1 : whole(count, "replace")));
}

Value reversed(Evaluator&, const Value& input, const Arguments& a) {
  a.allow("the filter reverse", {});
  if (input.is(Kind::kString))
    return get_slice(input, Value::none(), Value::none(), Value::integer(-1));
  List items = iterate(input);
  std::reverse(items.begin(), items.end());
  return Value::list(std::move(items));
}

Value items_of(Evaluator&, const Value& input, const Arguments& a) {
  a.allow("the filter items", {});
  List items;
  if (input.is(Kind::kUndefined)) return Value::list({});
  if (!input.is(Kind::kDict))
    throw Fault{cat("the filter \"items\" needs a dict, not a value of type ", type_name(input)),
                "", ""};
  for (const auto& [key, value] : input.as_dict().entries)
    items.push_back(Value::tuple({key, value}));
  return Value::list(std::move(items));
}

Value absolute(Evaluator&, const Value& input, const Arguments&) {
  if (!input.is_number())
    throw Fault{cat("the filter \"abs\" needs a number, not a value of type ", type_name(input)),
                "", ""};
  if (input.is(Kind::kFloat)) return Value::real(std::abs(input.as_real()));
  return input.as_int() < 0 ? negate(input) : Value::integer(input.as_int());
}

template <bool from_end>
Value end_item(Evaluator&, const Value& input, const Arguments&) {
  const List items = iterate(input);
  if (items.empty()) return Value::undefined("the sequence is empty");
  return from_end ? items.back() : items.front();
}

Value count(Evaluator&, const Value& input, const Arguments& a) {
  a.allow("the filter length", {});
  return Value::integer(length(input));
}

Value trimmed(Evaluator&, const Value& input, const Arguments& a) {
  a.allow("the filter trim", {"chars"});
  const std::string text = to_text(input);
  const Value chars = a.get(0, "chars", Value::none());
  return Value::string(
      std::string(chars.is(Kind::kNone) ? strip(text) : strip(text, to_text(chars), Side::kBoth)));
}

Value centered(Evaluator& evaluator, const Value& input, const Arguments& a) {
  Arguments width{{a.get(0, "width", Value::integer(80))}, {}};
  return evaluator.call(find_method(Value::string(to_text(input)), "center"), width);
}

Value formatted(Evaluator&, const Value& input, const Arguments& a) {
  return Value::string(format_percent(to_text(input), Value::tuple(a.positional)));
}

Value as_text(Evaluator&, const Value& input, const Arguments&) {
  return Value::string(to_text(input));
}

Value as_list(Evaluator&, const Value& input, const Arguments&) {
  return Value::list(iterate(input));
}

constexpr Filter kFilters[] = {
    {"abs", absolute},
    {"attr",
     [](Evaluator&, const Value& input, const Arguments& a) {
       return get_attribute(input, to_text(a.need(0, "name", "the filter attr")));
     }},
    {"batch", batch},
    {"capitalize", change_text<capitalize>},
    {"center", centered},
    {"count", count},
    {"d", default_value},
    {"default", default_value},
    {"dictsort", sorted_dict},
    {"e", change_text<escape_html>},
    {"escape", change_text<escape_html>},
    {"first", end_item<false>},
    {"float", to_real},
    {"forceescape", change_text<escape_html>},
    {"format", formatted},
    {"groupby", group_by},
    {"indent", indent_lines},
    {"int", to_whole},
    {"items", items_of},
    {"join", join_items},
    {"last", end_item<true>},
    {"length", count},
    {"list", as_list},
    {"lower", change_text<to_lower>},
    {"map", map_items},
    {"max", extreme<1>},
    {"min", extreme<-1>},
    {"reject", pick<false, false>},
    {"rejectattr", pick<true, false>},
    {"replace", replace_text},
    {"reverse", reversed},
    {"round", round_number},
    {"safe", as_text},
    {"select", pick<false, true>},
    {"selectattr", pick<true, true>},
    {"sort", sorted},
    {"string", as_text},
    {"sum", sum},
    {"title", change_text<title_words>},
    {"tojson", tojson},
    {"trim", trimmed},
    {"truncate", truncate},
    {"unique", unique},
    {"upper", change_text<to_upper>},
    {"wordcount", [](Evaluator&, const Value& input,
                     const Arguments&) { return Value::integer(word_count(to_text(input))); }},
};

const Filter* find_filter(std::string_view name) {
  const Filter* found = std::find_if(std::begin(kFilters), std::end(kFilters),
                                     [&](const Filter& filter) { return filter.name == name; });
  return found == std::end(kFilters) ? nullptr : found;
}

}  // namespace

bool has_filter(std::string_view name) { return find_filter(name) != nullptr; }

std::vector<std::string> filter_names() {
  std::vector<std::string> names;
  for (const Filter& filter : kFilters) names.emplace_back(filter.name);
  return names;
}

Value apply_filter(Evaluator& evaluator, const std::string& name, const Value& input,
                   const Arguments& arguments) {
  const Filter* filter = find_filter(name);
  if (filter == nullptr)
    throw Fault{cat("there is no filter ", quote(name)), join(filter_names(), ", "), ""};
  evaluator.spend(1);
  return filter->apply(evaluator, input, arguments);
}

}  // namespace levanter::text::jinja

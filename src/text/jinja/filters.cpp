// The filters of templates: what may stand behind "|".
#include <bit>
#include <cmath>
#include <cstdio>
#include <cstdlib>

#include "text/jinja/builtins.h"

namespace levanter::text::jinja {
namespace {

/// The item's attribute that the filter is given, without one the item.
Value attribute_of(const Call& c, const Value& item) {
  const Value attribute = c.get("attribute");
  return attribute.is(Kind::kNone) ? item : get_path(item, attribute);
}

/// What a value is ordered by: a text in lower case unless case matters.
Value sort_key(const Value& value, bool cased) {
  return value.is(Kind::kString) && !cased ? Value::string(to_lower(value.as_string())) : value;
}

template <class KeyOf>
List sort_by(const List& items, bool down, KeyOf&& key_of) {
  std::vector<std::pair<Value, Value>> keyed;
  Budget::check(2 * items.size() * sizeof keyed[0]);
  Budget::spend(items.size() * std::bit_width(items.size()) / 4);
  for (const Value& item : items) keyed.emplace_back(key_of(item), item);
  std::stable_sort(keyed.begin(), keyed.end(), [&](const auto& x, const auto& y) {
    return compare(down ? y.first : x.first, down ? x.first : y.first, "<") < 0;
  });
  List sorted;
  for (auto& entry : keyed) sorted.push_back(std::move(entry.second));
  return sorted;
}

Value default_value(const Call& c) {
  const bool missing = c.self.is(Kind::kUndefined) || (truth(c.get("boolean")) && !truth(c.self));
  return missing ? c.get("default_value", Value::string("")) : c.self;
}

Value tojson(const Call& c) {
  JsonStyle style;
  if (!c.get("indent").is(Kind::kNone)) {
    style.indent = static_cast<int>(std::clamp<int64_t>(c.whole("indent"), 0, 100));
    style.item_separator = ",";
  }
  const Value separators = c.get("separators");
  if (separators.is_sequence() && separators.items().size() == 2) {
    style.item_separator = to_text(separators.items()[0]);
    style.key_separator = to_text(separators.items()[1]);
  }
  style.ascii = truth(c.get("ensure_ascii"));
  style.sort_keys = truth(c.get("sort_keys"));
  return Value::string(to_json(c.self, style));
}

Value join_printed(const Call& c) {
  return join_items(c.self, to_text(c.get("d", Value::string(""))),
                    [&](const Value& item) { return to_text(attribute_of(c, item)); });
}

Value indent_lines(const Call& c) {
  const Value width = c.get("width", Value::integer(4));
  const std::string margin =
      width.is(Kind::kString) ? width.as_string() : repeat(" ", c.whole("width", 4));
  const bool blank = truth(c.get("blank"));
  const std::string text = to_text(c.self) + "\n";
  std::string out = truth(c.get("first")) ? margin : "";
  bool first = true;
  for (const std::string_view line : split_lines(text)) {
    if (!first) out += "\n";
    if (!first && (blank || !line.empty())) out += margin;
    out += line;
    first = false;
    check_text_size(out.size());
  }
  return Value::string(std::move(out));
}

Value round_number(const Call& c) {
  const int64_t precision = std::clamp<int64_t>(c.whole("precision", 0), -300, 300);
  const std::string method = to_text(c.get("method", Value::string("common")));
  c.check(c.self.is_number(), c.self, "a number");
  const double value = c.self.as_real();
  if (method == "common") {
    if (c.self.is_whole() && precision >= 0) return Value::integer(c.self.as_int());
    if (!std::isfinite(value)) return c.self;
    if (precision >= 0) {
      char digits[700];
      std::snprintf(digits, sizeof digits, "%.*f", static_cast<int>(precision), value);
      return Value::real(std::strtod(digits, nullptr));
    }
    const double unit = std::pow(10.0, static_cast<double>(-precision));
    const double rounded = std::nearbyint(value / unit) * unit;
    const bool fits = std::abs(rounded) < 9e18;
    return c.self.is_whole() && fits ? Value::integer(static_cast<int64_t>(rounded))
                                     : Value::real(rounded);
  }
  if (method != "ceil" && method != "floor")
    throw Fault{cat("the filter \"round\" has no method ", quote(method)), "common, ceil, floor"};
  const double unit = std::pow(10.0, static_cast<double>(precision));
  return Value::real((method == "ceil" ? std::ceil(value * unit) : std::floor(value * unit)) /
                     unit);
}

/// The text without blanks around it and a plus.
std::string_view number_text(const Value& value) {
  std::string_view text = strip(value.as_string());
  if (text.starts_with('+')) text.remove_prefix(1);
  return text;
}

Value to_whole(const Call& c) {
  const Value other = c.get("default", Value::integer(0));
  const int64_t base = c.whole("base", 10);
  double real = 0;
  if (c.self.is_whole()) return Value::integer(c.self.as_int());
  if (c.self.is(Kind::kString)) {
    std::string_view text = number_text(c.self);
    if (base == 16 && (text.starts_with("0x") || text.starts_with("0X"))) text.remove_prefix(2);
    int64_t value = 0;
    if (base >= 2 && base <= 36 && read_number(text, value, static_cast<int>(base)))
      return Value::integer(value);
    if (!read_number(text, real)) return other;
  } else if (c.self.is(Kind::kFloat)) {
    real = c.self.as_real();
  } else {
    return other;
  }
  return std::abs(real) < 9e18 ? Value::integer(static_cast<int64_t>(real)) : other;
}

Value to_real(const Call& c) {
  double real = 0;
  if (c.self.is_number()) return Value::real(c.self.as_real());
  if (c.self.is(Kind::kString) && read_number(number_text(c.self), real)) return Value::real(real);
  return c.get("default", Value::real(0));
}

Value sort(const Call& c) {
  const bool cased = truth(c.get("case_sensitive"));
  return Value::list(sort_by(iterate(c.self), truth(c.get("reverse")), [&](const Value& item) {
    return sort_key(attribute_of(c, item), cased);
  }));
}

Value sort_dict(const Call& c) {
  c.check(c.self.is(Kind::kDict), c.self, "a dict");
  const bool cased = truth(c.get("case_sensitive"));
  const size_t by = to_text(c.get("by", Value::string("key"))) == "value" ? 1 : 0;
  return Value::list(sort_by(pairs_of(c.self.as_dict()), truth(c.get("reverse")),
                             [&](const Value& pair) { return sort_key(pair.items()[by], cased); }));
}

Value unique(const Call& c) {
  const bool cased = truth(c.get("case_sensitive"));
  List seen, items;
  for (const Value& item : iterate(c.self)) {
    Budget::spend(seen.size() / 4);
    const Value key = sort_key(attribute_of(c, item), cased);
    if (std::any_of(seen.begin(), seen.end(),
                    [&](const Value& other) { return equal(other, key); }))
      continue;
    seen.push_back(key);
    items.push_back(item);
  }
  return Value::list(std::move(items));
}

template <int sign>
Value extreme(const Call& c) {
  const bool cased = truth(c.get("case_sensitive"));
  Value best = Value::undefined("the sequence is empty"), best_key;
  bool first = true;
  for (const Value& item : iterate(c.self)) {
    const Value key = sort_key(attribute_of(c, item), cased);
    if (!first && sign * compare(key, best_key, "<") <= 0) continue;
    best = item;
    best_key = key;
    first = false;
  }
  return best;
}

Value sum(const Call& c) {
  Value total = c.get("start", Value::integer(0));
  for (const Value& item : iterate(c.self)) total = arithmetic("+", total, attribute_of(c, item));
  return total;
}

Value map_attribute(const Call& c) {
  const Value& attribute = c.need("attribute");
  const Value* other = c.find("default");
  List items;
  for (const Value& item : iterate(c.self)) items.push_back(get_path(item, attribute, other));
  return Value::list(std::move(items));
}

Value map_items(const Call& c) {
  const List& given = c.given.positional;
  if (given.empty())
    return map_attribute(
        Call(c.evaluator, c.self, c.given, "the filter", "map(attribute, default)"));
  const std::string name = to_text(given[0]);
  const Arguments rest{{given.begin() + 1, given.end()}, c.given.named};
  List items;
  for (const Value& item : iterate(c.self))
    items.push_back(apply_filter(c.evaluator, name, item, rest));
  return Value::list(std::move(items));
}

template <bool by_attribute, bool wanted>
Value pick(const Call& c) {
  const List& given = c.given.positional;
  const size_t skip = by_attribute ? 1 : 0;
  if (given.size() < skip) fail("the filter needs the argument \"attribute\"");
  Arguments rest;
  for (size_t i = skip + 1; i < given.size(); ++i) rest.positional.push_back(given[i]);
  List items;
  for (const Value& item : iterate(c.self)) {
    const Value subject = by_attribute ? get_path(item, given[0]) : item;
    const bool holds = given.size() > skip
                           ? apply_test(c.evaluator, to_text(given[skip]), subject, rest)
                           : truth(subject);
    if (holds == wanted) items.push_back(item);
  }
  return Value::list(std::move(items));
}

Value group_by(const Call& c) {
  const Value& attribute = c.need("attribute");
  const Value other = c.get("default");
  const auto key_of = [&](const Value& item) {
    const Value key = get_path(item, attribute);
    return key.is(Kind::kUndefined) ? other : key;
  };
  const List all = sort_by(iterate(c.self), false, [&](const Value& item) {
    return sort_key(attribute_of(c, item), false);
  });
  List groups;
  for (size_t i = 0; i < all.size();) {
    const Value key = key_of(all[i]);
    List members;
    for (; i < all.size() && equal(key_of(all[i]), key); ++i) members.push_back(all[i]);
    groups.push_back(Value::tuple({key, Value::list(std::move(members))}));
  }
  return Value::list(std::move(groups));
}

Value batch(const Call& c) {
  const int64_t size = c.whole("linecount");
  const Value fill = c.get("fill_with");
  if (size < 1 || size > 1'000'000)
    throw Fault{"the filter \"batch\" needs a size", "1 to 1,000,000"};
  List rows, row;
  const auto end_row = [&] { rows.push_back(Value::list(std::exchange(row, {}))); };
  for (const Value& item : iterate(c.self)) {
    if (static_cast<int64_t>(row.size()) == size) end_row();
    row.push_back(item);
  }
  if (row.empty()) return Value::list(std::move(rows));
  if (!fill.is(Kind::kNone)) row.resize(static_cast<size_t>(size), fill);
  end_row();
  return Value::list(std::move(rows));
}

Value truncate(const Call& c) {
  const int64_t most = c.whole("length", 255);
  const std::string end = to_text(c.get("end", Value::string("...")));
  const int64_t leeway = c.whole("leeway", 5);
  const std::string text = to_text(c.self);
  if (most < character_count(end))
    fail("the filter \"truncate\" needs a length of at least its end");
  if (character_count(text) - most <= leeway) return Value::string(text);
  std::string kept = text.substr(0, byte_of_character(text, most - character_count(end)));
  if (!truth(c.get("killwords"))) kept = kept.substr(0, kept.rfind(' '));
  return Value::string(kept + end);
}

Value replace_text(const Call& c) {
  const bool all = c.get("count").is(Kind::kNone);
  return Value::string(replace(to_text(c.self), to_text(c.need("old")), to_text(c.need("new")),
                               all ? -1 : c.whole("count")));
}

Value reverse(const Call& c) {
  if (c.self.is(Kind::kString))
    return get_slice(c.self, Value::none(), Value::none(), Value::integer(-1));
  List items = iterate(c.self);
  std::reverse(items.begin(), items.end());
  return Value::list(std::move(items));
}

Value items_of(const Call& c) {
  if (c.self.is(Kind::kUndefined)) return Value::list({});
  c.check(c.self.is(Kind::kDict), c.self, "a dict");
  return Value::list(pairs_of(c.self.as_dict()));
}

Value absolute(const Call& c) {
  c.check(c.self.is_number(), c.self, "a number");
  if (c.self.is(Kind::kFloat)) return Value::real(std::abs(c.self.as_real()));
  return c.self.as_int() < 0 ? negate(c.self) : Value::integer(c.self.as_int());
}

template <bool from_end>
Value end_item(const Call& c) {
  const List items = iterate(c.self);
  if (items.empty()) return Value::undefined("the sequence is empty");
  return from_end ? items.back() : items.front();
}

Value trim(const Call& c) {
  const std::string text = to_text(c.self);
  const Value chars = c.get("chars");
  return Value::string(chars.is(Kind::kNone) ? strip(text)
                                             : strip(text, to_text(chars), Side::kBoth));
}

Value center(const Call& c) {
  const Arguments width{{c.get("width", Value::integer(80))}, {}};
  return c.evaluator.call(find_method(Value::string(to_text(c.self)), "center"), width);
}

constexpr Builtin<Value> kFilters[] = {
    {{"abs"}, "abs(...)", absolute},
    {{"attr"},
     "attr(name, ...)",
     [](const Call& c) { return get_attribute(c.self, to_text(c.need("name"))); }},
    {{"batch"}, "batch(linecount, fill_with)", batch},
    {{"capitalize"}, "()", changed<capitalize>},
    {{"center"}, "center(width, ...)", center},
    {{"count", "length"}, "length()", [](const Call& c) { return Value::integer(length(c.self)); }},
    {{"d", "default"}, "default(default_value, boolean)", default_value},
    {{"dictsort"}, "dictsort(case_sensitive, by, reverse)", sort_dict},
    {{"e", "escape", "forceescape"}, "()", changed<escape_html>},
    {{"first"}, "first(...)", end_item<false>},
    {{"float"}, "float(default)", to_real},
    {{"format"},
     "format(...)",
     [](const Call& c) {
       return Value::string(format_percent(to_text(c.self), Value::tuple(c.given.positional)));
     }},
    {{"groupby"}, "groupby(attribute, default, case_sensitive)", group_by},
    {{"indent"}, "indent(width, first, blank)", indent_lines},
    {{"int"}, "int(default, base)", to_whole},
    {{"items"}, "items()", items_of},
    {{"join"}, "join(d, attribute)", join_printed},
    {{"last"}, "last(...)", end_item<true>},
    {{"list"}, "list(...)", [](const Call& c) { return Value::list(iterate(c.self)); }},
    {{"lower"}, "()", changed<to_lower>},
    {{"map"}, "map(...)", map_items},
    {{"max"}, "(case_sensitive, attribute)", extreme<1>},
    {{"min"}, "(case_sensitive, attribute)", extreme<-1>},
    {{"reject"}, "(...)", pick<false, false>},
    {{"rejectattr"}, "(...)", pick<true, false>},
    {{"replace"}, "replace(old, new, count)", replace_text},
    {{"reverse"}, "reverse()", reverse},
    {{"round"}, "round(precision, method)", round_number},
    {{"safe", "string"}, "(...)", [](const Call& c) { return Value::string(to_text(c.self)); }},
    {{"select"}, "(...)", pick<false, true>},
    {{"selectattr"}, "(...)", pick<true, true>},
    {{"sort"}, "sort(reverse, case_sensitive, attribute)", sort},
    {{"sum"}, "sum(attribute, start)", sum},
    {{"title"}, "()", changed<title_words>},
    {{"tojson"}, "tojson(ensure_ascii, indent, separators, sort_keys)", tojson},
    {{"trim"}, "trim(chars)", trim},
    {{"truncate"}, "truncate(length, killwords, end, leeway)", truncate},
    {{"unique"}, "unique(case_sensitive, attribute)", unique},
    {{"upper"}, "()", changed<to_upper>},
    {{"wordcount"},
     "(...)",
     [](const Call& c) { return Value::integer(word_count(to_text(c.self))); }},
};

}  // namespace

std::vector<std::string> filter_names() { return names_of(kFilters); }

Value apply_filter(Evaluator& evaluator, const std::string& name, const Value& input,
                   const Arguments& arguments) {
  const auto* filter = find_builtin(kFilters, name);
  if (filter == nullptr)
    throw Fault{cat("there is no filter ", quote(name)), join(filter_names(), ", ")};
  Budget::spend(1);
  return filter->apply(Call(evaluator, input, arguments, "the filter", filter->signature));
}

}  // namespace levanter::text::jinja

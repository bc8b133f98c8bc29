// Methods and attributes: what may stand behind a dot.
#include "text/jinja/builtins.h"

namespace levanter::text::jinja {
namespace {

template <Side side>
Value strip_method(const Call& c) {
  const std::string& text = c.self.as_string();
  return Value::string(c.get("chars").is(Kind::kNone) ? strip(text, side)
                                                      : strip(text, c.text("chars"), side));
}

template <bool from_right>
Value split_method(const Call& c) {
  const std::string& text = c.self.as_string();
  const int64_t most = c.whole("maxsplit", -1);
  if (c.get("sep").is(Kind::kNone))
    return Value::list(texts_of(split_blanks(text, most, from_right)));
  const std::string separator = c.text("sep");
  if (separator.empty()) fail("split needs a separator that is not empty");
  return Value::list(texts_of(split_at(text, separator, most, from_right)));
}

template <bool at_end>
Value affix_method(const Call& c) {
  const Value& affix = c.need("prefix");
  const auto matches = [&](const Value& one) {
    const std::string &part = c.as_text(one), &text = c.self.as_string();
    return at_end ? text.ends_with(part) : text.starts_with(part);
  };
  if (!affix.is(Kind::kTuple)) return Value::boolean(matches(affix));
  return Value::boolean(std::any_of(affix.items().begin(), affix.items().end(), matches));
}

/// Without this beginning or end.
template <bool at_end>
Value remove_affix(const Call& c) {
  const std::string part = c.text(at_end ? "suffix" : "prefix");
  const std::string& text = c.self.as_string();
  if (!(at_end ? text.ends_with(part) : text.starts_with(part))) return c.self;
  return Value::string(text.substr(at_end ? 0 : part.size(), text.size() - part.size()));
}

/// The character at which the part begins, -1 where it does not.
template <bool from_right>
Value find_in(const Call& c) {
  const std::string& whole = c.self.as_string();
  int64_t start = c.whole("start", 0);
  if (start < 0) start = std::max<int64_t>(start + character_count(whole), 0);
  if (start > character_count(whole)) return Value::integer(-1);
  const size_t begin = byte_of_character(whole, start);
  const std::string part = c.text("sub");
  const size_t at = from_right ? whole.rfind(part) : whole.find(part, begin);
  if (at == std::string::npos || at < begin) return Value::integer(-1);
  return Value::integer(character_count(std::string_view(whole).substr(0, at)));
}

template <bool from_right>
Value index_in(const Call& c) {
  const Value found = find_in<from_right>(c);
  if (found.as_int() < 0) fail("index finds no such part of the str");
  return found;
}

template <CharacterKind kind>
Value all_kind(const Call& c) {
  return Value::boolean(all_of_kind(c.self.as_string(), kind));
}

template <bool (*holds)(std::string_view)>
Value is_case(const Call& c) {
  return Value::boolean(holds(c.self.as_string()));
}

/// Filled up to a width: -1 to the left, 0 in the middle, 1 to the right.
template <int place>
Value justify(const Call& c) {
  const std::string& text = c.self.as_string();
  const int64_t width = c.whole("width");
  const int64_t room = std::max<int64_t>(width - character_count(text), 0);
  int64_t left = 0;
  if (place == 0) left = room / 2 + (room & width & 1);
  if (place > 0) left = room;
  const std::string fill = c.text("fillchar", " ");
  return Value::string(cat(repeat(fill, left), text, repeat(fill, room - left)));
}

Value zero_fill(const Call& c) {
  const std::string& s = c.self.as_string();
  const int64_t room = c.whole("width") - character_count(s);
  const size_t sign = s.starts_with('-') || s.starts_with('+');
  return Value::string(cat(s.substr(0, sign), repeat("0", room), s.substr(sign)));
}

template <bool from_right>
Value partition(const Call& c) {
  const std::string& s = c.self.as_string();
  const std::string separator = c.text("sep");
  const Value none = Value::string("");
  if (separator.empty()) fail("partition needs a separator that is not empty");
  const size_t at = from_right ? s.rfind(separator) : s.find(separator);
  if (at == std::string::npos)
    return Value::tuple({from_right ? none : c.self, none, from_right ? c.self : none});
  return Value::tuple({Value::string(s.substr(0, at)), c.need("sep"),
                       Value::string(s.substr(at + separator.size()))});
}

Value is_alphanumeric(const Call& c) {
  const Pieces all = characters_of(c.self.as_string());
  return Value::boolean(!all.empty() && std::all_of(all.begin(), all.end(), [](auto one) {
    return all_of_kind(one, CharacterKind::kWord) && one != "_";
  }));
}

Value is_ascii(const Call& c) {
  return Value::boolean(character_count(c.self.as_string()) == std::ssize(c.self.as_string()));
}

constexpr std::string_view kNone = "this method()", kWidth = "this method(width, fillchar)",
                           kFind = "find(sub, start)";

constexpr Builtin<Value> kStringMethods[] = {
    {{"capitalize"}, kNone, changed<capitalize>},
    {{"casefold"}, kNone, changed<fold_case>},
    {{"center"}, kWidth, justify<0>},
    {{"count"},
     "count(sub)",
     [](const Call& c) { return Value::integer(count_of(c.self.as_string(), c.text("sub"))); }},
    {{"endswith"}, "endswith(prefix)", affix_method<true>},
    {{"find"}, kFind, find_in<false>},
    {{"format"},
     "(...)",
     [](const Call& c) { return Value::string(format_braces(c.self.as_string(), c.given)); }},
    {{"index"}, kFind, index_in<false>},
    {{"isalnum"}, "(...)", is_alphanumeric},
    {{"isalpha"}, kNone, all_kind<CharacterKind::kLetter>},
    {{"isascii"}, "(...)", is_ascii},
    {{"isdecimal", "isdigit", "isnumeric"}, kNone, all_kind<CharacterKind::kDecimal>},
    {{"islower"}, "(...)", is_case<is_lower>},
    {{"isspace"}, kNone, all_kind<CharacterKind::kBlank>},
    {{"isupper"}, "(...)", is_case<is_upper>},
    {{"join"},
     "join(iterable)",
     [](const Call& c) {
       return join_items(c.need("iterable"), c.self.as_string(),
                         [&](const Value& item) { return c.as_text(item); });
     }},
    {{"ljust"}, kWidth, justify<-1>},
    {{"lower"}, kNone, changed<to_lower>},
    {{"lstrip"}, "strip(chars)", strip_method<Side::kLeft>},
    {{"partition"}, "partition(sep)", partition<false>},
    {{"removeprefix"}, "removeprefix(prefix, ...)", remove_affix<false>},
    {{"removesuffix"}, "removesuffix(suffix, ...)", remove_affix<true>},
    {{"replace"},
     "replace(old, new, count)",
     [](const Call& c) {
       return Value::string(
           replace(c.self.as_string(), c.text("old"), c.text("new"), c.whole("count", -1)));
     }},
    {{"rfind"}, kFind, find_in<true>},
    {{"rindex"}, kFind, index_in<true>},
    {{"rjust"}, kWidth, justify<1>},
    {{"rpartition"}, "partition(sep)", partition<true>},
    {{"rsplit"}, "split(sep, maxsplit)", split_method<true>},
    {{"rstrip"}, "strip(chars)", strip_method<Side::kRight>},
    {{"split"}, "split(sep, maxsplit)", split_method<false>},
    {{"splitlines"},
     "splitlines()",
     [](const Call& c) { return Value::list(texts_of(split_lines(c.self.as_string()))); }},
    {{"startswith"}, "startswith(prefix)", affix_method<false>},
    {{"strip"}, "strip(chars)", strip_method<Side::kBoth>},
    {{"swapcase"}, kNone, changed<swap_case>},
    {{"title"}, kNone, changed<title_letters>},
    {{"upper"}, kNone, changed<to_upper>},
    {{"zfill"}, "zfill(width)", zero_fill},
};

template <size_t part>
Value part_of_entries(const Call& c) {
  List parts;
  for (const Value& pair : pairs_of(c.self.as_dict())) parts.push_back(pair.items()[part]);
  return Value::list(std::move(parts));
}

Value itself(const Call& c) { return c.self; }

Value refuse_change(const Call& c) {
  throw Fault{cat("a template may not change a ", type_name(c.self)), "",
              "make a new one and set it: {% set ns.items = ns.items + [x] %}"};
}

constexpr Builtin<Value> kDictMethods[] = {
    {{"clear", "pop", "popitem", "setdefault", "update"}, "(...)", refuse_change},
    {{"copy"}, "(...)", itself},
    {{"get"},
     "get(key, default)",
     [](const Call& c) {
       const Value* found = c.self.as_dict().find(c.need("key"));
       return found != nullptr ? *found : c.get("default");
     }},
    {{"items"}, kNone, [](const Call& c) { return Value::list(pairs_of(c.self.as_dict())); }},
    {{"keys"}, kNone, part_of_entries<0>},
    {{"values"}, kNone, part_of_entries<1>},
};

constexpr Builtin<Value> kListMethods[] = {
    {{"append", "clear", "extend", "insert", "pop", "remove", "reverse", "sort"},
     "(...)",
     refuse_change},
    {{"copy"}, "(...)", itself},
    {{"count"},
     "count(value, ...)",
     [](const Call& c) {
       const Value& item = c.need("value");
       return Value::integer(std::count_if(c.self.items().begin(), c.self.items().end(),
                                           [&](const Value& other) { return equal(other, item); }));
     }},
    {{"index"},
     "index(value, ...)",
     [](const Call& c) {
       const Value& item = c.need("value");
       for (size_t i = 0; i < c.self.items().size(); ++i)
         if (equal(c.self.items()[i], item)) return Value::integer(static_cast<int64_t>(i));
       fail("index finds no such item");
     }},
};

Value loop_attribute(const Value& value, const std::string& name) {
  const LoopState& loop = value.as_loop();
  const auto index = static_cast<int64_t>(loop.index);
  const auto size = static_cast<int64_t>(loop.items->size());
  if (name == "index") return Value::integer(index + 1);
  if (name == "index0") return Value::integer(index);
  if (name == "revindex") return Value::integer(size - index);
  if (name == "revindex0") return Value::integer(size - index - 1);
  if (name == "first") return Value::boolean(index == 0);
  if (name == "last") return Value::boolean(index + 1 == size);
  if (name == "length") return Value::integer(size);
  if (name == "depth") return Value::integer(1);  // only recursive loops go deeper
  if (name == "depth0") return Value::integer(0);
  if (name == "previtem")
    return index > 0 ? (*loop.items)[loop.index - 1]
                     : Value::undefined("there is no previous item");
  if (name == "nextitem")
    return index + 1 < size ? (*loop.items)[loop.index + 1]
                            : Value::undefined("there is no next item");
  if (name == "cycle")
    return Value::function({name, [index](Evaluator&, const Arguments& a) {
                              if (a.positional.empty()) fail("loop.cycle needs values");
                              return a.positional[static_cast<size_t>(index) % a.positional.size()];
                            }});
  if (name == "changed")
    return Value::function({name, [value](Evaluator&, const Arguments& a) {
                              LoopState& state = value.as_loop();
                              const Value now = Value::tuple(a.positional);
                              const bool changed = !state.has_changed || !equal(now, state.changed);
                              state.has_changed = true;
                              state.changed = now;
                              return Value::boolean(changed);
                            }});
  return Value::undefined(cat("loop has no attribute ", quote(name)));
}

}  // namespace

List pairs_of(const Dict& dict) {
  List pairs;
  for (const auto& [key, value] : dict.entries) pairs.push_back(Value::tuple({key, value}));
  return pairs;
}

Value find_method(const Value& value, const std::string& name) {
  const auto search = [&](const auto& methods) {
    const auto* method = find_builtin(methods, name);
    return method != nullptr ? bound(value, name, *method) : Value();
  };
  if (value.is(Kind::kString)) return search(kStringMethods);
  if (value.is(Kind::kDict)) return search(kDictMethods);
  return value.is_sequence() ? search(kListMethods) : Value();
}

Value get_attribute(const Value& value, const std::string& name) {
  if (value.is(Kind::kUndefined))
    throw Fault{cat(value.why_undefined(), ", so it has no attribute ", quote(name)), "",
                "test it before: {% if x is defined %}"};
  if (value.is(Kind::kLoop)) return loop_attribute(value, name);
  if (value.is(Kind::kNamespace)) {
    if (const Value* found = value.as_namespace().find(name)) return *found;
    return Value::undefined(cat("the namespace has no ", quote(name)));
  }
  const Value method = find_method(value, name);
  if (!method.is(Kind::kUndefined)) return method;
  if (value.is(Kind::kDict))
    if (const Value* found = value.as_dict().find(name)) return *found;
  return Value::undefined(
      cat("a value of type ", type_name(value), " has no attribute ", quote(name)));
}

}  // namespace levanter::text::jinja

// Methods and attributes: what may stand behind a dot.
#include <algorithm>
#include <cstdio>

#include "base/strings.h"
#include "text/jinja/builtins.h"
#include "text/jinja/strings.h"

namespace levanter::text::jinja {
namespace {

using Kind = Value::Kind;

/// A method of T: `self` is the value before the dot.
struct Method {
  const char* name;
  Value (*call)(const Value& self, const Arguments& arguments);
};

const std::string& text_of(const Value& value, std::string_view what) {
  if (value.is(Kind::kString)) return value.as_string();
  if (value.is(Kind::kUndefined)) throw Fault{value.why_undefined(), "", ""};
  throw Fault{cat(what, " needs a str, not a value of type ", type_name(value)), "", ""};
}

int64_t whole_of(const Value& value, std::string_view what) {
  if (!value.is_whole())
    throw Fault{cat(what, " needs a whole number, not a value of type ", type_name(value)), "", ""};
  return value.as_int();
}

Value text(std::string_view value) { return Value::string(std::string(value)); }

Value texts(std::vector<std::string> parts) {
  List items;
  for (std::string& part : parts) items.push_back(Value::string(std::move(part)));
  return Value::list(std::move(items));
}

template <Side side>
Value strip_method(const Value& self, const Arguments& a) {
  a.allow("strip", {"chars"});
  const Value chars = a.get(0, "chars", Value::none());
  if (chars.is(Kind::kNone)) return text(strip(self.as_string(), side));
  return text(strip(self.as_string(), text_of(chars, "strip"), side));
}

template <bool from_right>
Value split_method(const Value& self, const Arguments& a) {
  a.allow("split", {"sep", "maxsplit"});
  const Value separator = a.get(0, "sep", Value::none());
  const int64_t most = whole_of(a.get(1, "maxsplit", Value::integer(-1)), "split");
  if (separator.is(Kind::kNone)) return texts(split_blanks(self.as_string(), most, from_right));
  if (text_of(separator, "split").empty())
    throw Fault{"split needs a separator that is not empty", "", ""};
  return texts(split_at(self.as_string(), separator.as_string(), most, from_right));
}

template <bool at_end>
Value affix_method(const Value& self, const Arguments& a) {
  const char* what = at_end ? "endswith" : "startswith";
  a.allow(what, {"prefix"});
  const Value& affix = a.need(0, "prefix", what);
  const auto matches = [&](const Value& one) {
    const std::string& part = text_of(one, what);
    return at_end ? self.as_string().ends_with(part) : self.as_string().starts_with(part);
  };
  if (!affix.is(Kind::kTuple)) return Value::boolean(matches(affix));
  return Value::boolean(std::any_of(affix.items().begin(), affix.items().end(), matches));
}

/// The character at which the part begins, -1 where it does not.
template <bool from_right>
Value find_in(const Value& self, const Arguments& a) {
  a.allow("find", {"sub", "start"});
  const std::string& whole = self.as_string();
  int64_t start = whole_of(a.get(1, "start", Value::integer(0)), "find");
  if (start < 0) start = std::max<int64_t>(start + character_count(whole), 0);
  if (start > character_count(whole)) return Value::integer(-1);
  const size_t begin = byte_of_character(whole, start);
  const std::string& part = text_of(a.need(0, "sub", "find"), "find");
  const size_t at = from_right ? whole.rfind(part) : whole.find(part, begin);
  if (at == std::string::npos || at < begin) return Value::integer(-1);
  return Value::integer(character_count(std::string_view(whole).substr(0, at)));
}

template <bool from_right>
Value index_in(const Value& self, const Arguments& a) {
  const Value found = find_in<from_right>(self, a);
  if (found.as_int() < 0) throw Fault{"index finds no such part of the str", "", ""};
  return found;
}

template <CharacterKind kind>
Value all_kind(const Value& self, const Arguments& a) {
  a.allow("this method", {});
  return Value::boolean(all_of_kind(self.as_string(), kind));
}

template <std::string (*change)(std::string_view)>
Value changed(const Value& self, const Arguments& a) {
  a.allow("this method", {});
  return Value::string(change(self.as_string()));
}

template <bool is_upper>
Value is_case(const Value& self, const Arguments&) {
  const std::string& s = self.as_string();
  return Value::boolean(is_upper ? to_upper(s) == s && to_lower(s) != s
                                 : to_lower(s) == s && to_upper(s) != s);
}

/// Filled up to a width: -1 to the left, 0 in the middle, 1 to the right.
template <int place>
Value justify(const Value& self, const Arguments& a) {
  a.allow("this method", {"width", "fillchar"});
  const int64_t width = whole_of(a.need(0, "width", "this method"), "this method");
  const Value fill = a.get(1, "fillchar", Value::string(" "));
  const int64_t room = std::max<int64_t>(width - character_count(self.as_string()), 0);
  const int64_t left = place < 0 ? 0 : place > 0 ? room : room / 2 + (room & width & 1);
  const std::string& one = text_of(fill, "this method");
  return Value::string(cat(repeat(one, left), self.as_string(), repeat(one, room - left)));
}

template <bool from_right>
Value partition(const Value& self, const Arguments& a) {
  a.allow("partition", {"sep"});
  const std::string& s = self.as_string();
  const std::string& separator = text_of(a.need(0, "sep", "partition"), "partition");
  if (separator.empty()) throw Fault{"partition needs a separator that is not empty", "", ""};
  const size_t at = from_right ? s.rfind(separator) : s.find(separator);
  if (at == std::string::npos)
    return from_right ? Value::tuple({text(""), text(""), self})
                      : Value::tuple({self, text(""), text("")});
  return Value::tuple(
      {text(s.substr(0, at)), text(separator), text(s.substr(at + separator.size()))});
}

std::string swap_case(std::string_view text) {
  std::string out;
  for (const std::string_view one : characters_of(text)) {
    const std::string upper = to_upper(one);
    out += upper == one ? to_lower(one) : upper;
  }
  return out;
}

constexpr Method kStringMethods[] = {
    {"capitalize", changed<capitalize>},
    {"casefold", changed<to_lower>},
    {"center", justify<0>},
    {"count",
     [](const Value& self, const Arguments& a) {
       a.allow("count", {"sub"});
       return Value::integer(
           count_of(self.as_string(), text_of(a.need(0, "sub", "count"), "count")));
     }},
    {"endswith", affix_method<true>},
    {"find", find_in<false>},
    {"format",
     [](const Value& self, const Arguments& a) {
       return Value::string(format_braces(self.as_string(), a));
     }},
    {"index", index_in<false>},
    {"isalnum",
     [](const Value& self, const Arguments&) {
       const auto all = characters_of(self.as_string());
       return Value::boolean(!all.empty() && std::all_of(all.begin(), all.end(), [](auto one) {
         return all_of_kind(one, CharacterKind::kWord) && one != "_";
       }));
     }},
    {"isalpha", all_kind<CharacterKind::kLetter>},
    {"isascii",
     [](const Value& self, const Arguments&) {
       const std::string& s = self.as_string();
       return Value::boolean(std::all_of(s.begin(), s.end(), [](char c) { return c >= 0; }));
     }},
    {"isdecimal", all_kind<CharacterKind::kDecimal>},
    {"isdigit", all_kind<CharacterKind::kDecimal>},
    {"islower", is_case<false>},
    {"isnumeric", all_kind<CharacterKind::kDecimal>},
    {"isspace", all_kind<CharacterKind::kBlank>},
    {"isupper", is_case<true>},
    {"join",
     [](const Value& self, const Arguments& a) {
       a.allow("join", {"iterable"});
       std::string out;
       bool first = true;
       for (const Value& item : iterate(a.need(0, "iterable", "join"))) {
         if (!std::exchange(first, false)) out += self.as_string();
         out += text_of(item, "join");
         check_text_size(out.size());
       }
       return Value::string(std::move(out));
     }},
    {"ljust", justify<-1>},
    {"lower", changed<to_lower>},
    {"lstrip", strip_method<Side::kLeft>},
    {"partition", partition<false>},
    {"removeprefix",
     [](const Value& self, const Arguments& a) {
       const std::string& part = text_of(a.need(0, "prefix", "removeprefix"), "removeprefix");
       const std::string& s = self.as_string();
       return text(s.starts_with(part) ? s.substr(part.size()) : s);
     }},
    {"removesuffix",
     [](const Value& self, const Arguments& a) {
       const std::string& part = text_of(a.need(0, "suffix", "removesuffix"), "removesuffix");
       const std::string& s = self.as_string();
       return text(s.ends_with(part) ? s.substr(0, s.size() - part.size()) : s);
     }},
    {"replace",
     [](const Value& self, const Arguments& a) {
       a.allow("replace", {"old", "new", "count"});
       return Value::string(replace(self.as_string(),
                                    text_of(a.need(0, "old", "replace"), "replace"),
                                    text_of(a.need(1, "new", "replace"), "replace"),
                                    whole_of(a.get(2, "count", Value::integer(-1)), "replace")));
     }},
    {"rfind", find_in<true>},
    {"rindex", index_in<true>},
    {"rjust", justify<1>},
    {"rpartition", partition<true>},
    {"rsplit", split_method<true>},
    {"rstrip", strip_method<Side::kRight>},
    {"split", split_method<false>},
    {"splitlines",
     [](const Value& self, const Arguments& a) {
       a.allow("splitlines", {});
       return texts(split_lines(self.as_string()));
     }},
    {"startswith", affix_method<false>},
    {"strip", strip_method<Side::kBoth>},
    {"swapcase", changed<swap_case>},
    {"title", changed<title_letters>},
    {"upper", changed<to_upper>},
    {"zfill",
     [](const Value& self, const Arguments& a) {
       a.allow("zfill", {"width"});
       const std::string& s = self.as_string();
       const int64_t room = whole_of(a.need(0, "width", "zfill"), "zfill") - character_count(s);
       const size_t sign = s.starts_with('-') || s.starts_with('+');
       return Value::string(cat(s.substr(0, sign), repeat("0", room), s.substr(sign)));
     }},
};

template <int part>
Value entries_of(const Value& self, const Arguments& a) {
  a.allow("this method", {});
  List items;
  for (const auto& [key, value] : self.as_dict().entries)
    items.push_back(part == 0 ? key : part == 1 ? value : Value::tuple({key, value}));
  return Value::list(std::move(items));
}

Value itself(const Value& self, const Arguments&) { return self; }

Value refuse_change(const Value& self, const Arguments&) {
  throw Fault{cat("a template may not change a ", type_name(self)), "",
              "make a new one and set it: {% set ns.items = ns.items + [x] %}"};
}

constexpr Method kDictMethods[] = {
    {"clear", refuse_change},
    {"copy", itself},
    {"get",
     [](const Value& self, const Arguments& a) {
       a.allow("get", {"key", "default"});
       const Value* found = self.as_dict().find(a.need(0, "key", "get"));
       return found != nullptr ? *found : a.get(1, "default", Value::none());
     }},
    {"items", entries_of<2>},
    {"keys", entries_of<0>},
    {"pop", refuse_change},
    {"popitem", refuse_change},
    {"setdefault", refuse_change},
    {"update", refuse_change},
    {"values", entries_of<1>},
};

constexpr Method kListMethods[] = {
    {"append", refuse_change},
    {"clear", refuse_change},
    {"copy", itself},
    {"count",
     [](const Value& self, const Arguments& a) {
       const Value& item = a.need(0, "value", "count");
       return Value::integer(std::count_if(self.items().begin(), self.items().end(),
                                           [&](const Value& other) { return equal(other, item); }));
     }},
    {"extend", refuse_change},
    {"index",
     [](const Value& self, const Arguments& a) {
       const Value& item = a.need(0, "value", "index");
       for (size_t i = 0; i < self.items().size(); ++i)
         if (equal(self.items()[i], item)) return Value::integer(static_cast<int64_t>(i));
       throw Fault{"index finds no such item", "", ""};
     }},
    {"insert", refuse_change},
    {"pop", refuse_change},
    {"remove", refuse_change},
    {"reverse", refuse_change},
    {"sort", refuse_change},
};

Value bind(const Value& self, const Method& method) {
  return Value::function(
      {method.name, [self, call = method.call](Evaluator& evaluator, const Arguments& arguments) {
         if (self.is(Kind::kString)) evaluator.spend(self.as_string().size() / 16);
         if (self.is_sequence()) evaluator.spend(self.items().size() / 4);
         return call(self, arguments);
       }});
}

Value loop_attribute(const Value& value, const std::string& name) {
  LoopState& loop = value.as_loop();
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
                              if (a.positional.empty())
                                throw Fault{"loop.cycle needs values", "", ""};
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

Value find_method(const Value& value, const std::string& name) {
  const auto search = [&](const auto& methods) {
    for (const Method& method : methods)
      if (method.name == name) return bind(value, method);
    return Value();
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

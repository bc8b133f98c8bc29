// Python's two ways to put values into a text: text % values and text.format(...).
#include <algorithm>
#include <cmath>
#include <cstdio>

#include "text/jinja/builtins.h"

namespace levanter::text::jinja {
namespace {

constexpr int kMaxWidth = 1000;

/// How one value is to be written: [[fill]align][sign][0][width][.precision][type].
struct Spec {
  std::string fill = " ";
  char align = '\0', sign = '-', type = '\0';
  int width = 0, precision = -1;
};

bool is_one_of(std::string_view text, size_t at, std::string_view wanted) {
  return at < text.size() && wanted.find(text[at]) != wanted.npos;
}

int read_digits(std::string_view text, size_t& at) {
  int value = 0;
  while (is_one_of(text, at, "0123456789")) {
    value = value * 10 + (text[at++] - '0');
    if (value > kMaxWidth) fail("a format is wider than ", kMaxWidth);
  }
  return value;
}

/// Reads [width][.precision].
void read_size(std::string_view text, size_t& at, Spec& spec) {
  spec.width = read_digits(text, at);
  if (is_one_of(text, at, ".")) spec.precision = read_digits(text, ++at);
}

/// The value's text before it is filled up to the width.
std::string body_of(const Value& value, const Spec& spec) {
  const std::string_view type(&spec.type, 1);
  const bool whole = is_one_of(type, 0, "dixX");
  if (!whole && !is_one_of(type, 0, "feg")) {
    std::string text = spec.type == 'r' ? to_repr(value) : to_text(value);
    return spec.precision >= 0 ? text.substr(0, byte_of_character(text, spec.precision)) : text;
  }
  if (!value.is_number())
    fail("the format %", type, " needs a number, not a value of type ", type_name(value));
  const std::string sign(spec.sign == '-' ? "" : std::string(1, spec.sign));
  char buffer[1500];
  if (whole) {
    if (std::isnan(value.as_real())) fail("nan is no whole number");
    const long long number = value.is_whole()
                                 ? value.as_int()
                                 : static_cast<long long>(std::clamp(value.as_real(), -9e18, 9e18));
    std::snprintf(buffer, sizeof buffer, cat("%", sign, "ll", type).c_str(), number);
  } else {
    std::snprintf(buffer, sizeof buffer, cat("%", sign, ".*", type).c_str(),
                  spec.precision < 0 ? 6 : spec.precision, value.as_real());
  }
  return buffer;
}

std::string written(const Value& value, const Spec& spec) {
  const std::string body = body_of(value, spec);
  const int64_t room = std::max<int64_t>(spec.width - character_count(body), 0);
  char align = spec.align;
  if (align == '\0') align = value.is_number() ? '>' : '<';
  const size_t sign = align == '=' && (body.starts_with('-') || body.starts_with('+')) ? 1 : 0;
  int64_t left = room;
  if (align == '<') left = 0;
  if (align == '^') left = room / 2;
  return cat(body.substr(0, sign), repeat(spec.fill, left), body.substr(sign),
             repeat(spec.fill, room - left));
}

Spec parse_spec(std::string_view text) {
  Spec spec;
  constexpr std::string_view kAligns = "<>^=";
  const std::vector<std::string_view> characters = characters_of(text.substr(0, 8));
  size_t at = 0;
  if (characters.size() > 1 && kAligns.find(characters[1]) != kAligns.npos) {
    spec.fill = characters[0];
    spec.align = characters[1][0];
    at = characters[0].size() + 1;
  } else if (is_one_of(text, 0, kAligns)) {
    spec.align = text[at++];
  }
  if (is_one_of(text, at, "+- ")) spec.sign = text[at++];
  if (is_one_of(text, at, "0")) {
    spec.fill = "0";
    if (spec.align == '\0') spec.align = '=';
    ++at;
  }
  read_size(text, at, spec);
  if (at < text.size()) spec.type = text[at++];
  if (at != text.size()) fail("the format ", quote(text), " is not supported");
  return spec;
}

}  // namespace

std::string format_percent(const std::string& text, const Value& values) {
  const bool is_dict = values.is(Kind::kDict);
  const List items = values.is(Kind::kTuple) ? values.items() : List{values};
  std::string out;
  size_t used = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%' || is_one_of(text, i + 1, "%")) {
      out += text[i];
      i += text[i] == '%';
      continue;
    }
    Spec spec;
    spec.align = '>';
    Value value;
    if (is_one_of(text, ++i, "(")) {
      const size_t end = text.find(')', i);
      if (end == std::string::npos || !is_dict) fail("%(name) needs a dict");
      value = get_item(values, Value::string(text.substr(i + 1, end - i - 1)));
      i = end + 1;
    }
    for (; is_one_of(text, i, "-+ 0#"); ++i) {
      if (text[i] == '-') spec.align = '<';
      if (text[i] == '+' || text[i] == ' ') spec.sign = text[i];
      if (text[i] == '0' && spec.align != '<') {
        spec.fill = "0";
        spec.align = '=';
      }
    }
    read_size(text, i, spec);
    if (!is_one_of(text, i, "sdrfxXegi"))
      throw Fault{"a % in a format is followed by no known letter", "s, d, i, r, f, e, g, x, X, %"};
    spec.type = text[i];
    if (!is_dict) {
      if (used >= items.size()) fail("a format has more % than there are values");
      value = items[used++];
    }
    out += written(value, spec);
    check_text_size(out.size());
  }
  if (used < items.size() && !is_dict) fail("a format has fewer % than there are values");
  return out;
}

std::string format_braces(const std::string& text, const Arguments& arguments) {
  std::string out;
  int64_t next = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if ((c == '{' || c == '}') && i + 1 < text.size() && text[i + 1] == c) {
      out += c;
      ++i;
    } else if (c == '}') {
      throw Fault{"a } in a format closes nothing", "", "}} stands for one }"};
    } else if (c != '{') {
      out += c;
    } else {
      const size_t end = text.find('}', i);
      if (end == std::string::npos)
        throw Fault{"a { in a format is never closed", "", "{{ stands for one {"};
      std::string field = text.substr(i + 1, end - i - 1), spec;
      if (const size_t colon = field.find(':'); colon != std::string::npos) {
        spec = field.substr(colon + 1);
        field.resize(colon);
      }
      const bool repr = field.ends_with("!r");
      if (repr || field.ends_with("!s")) field.resize(field.size() - 2);
      int64_t place = next;
      const bool numbered = read_number(field, place);
      const Value* value = nullptr;
      if (field.empty() || numbered) {
        if (field.empty()) ++next;
        if (place >= 0 && place < static_cast<int64_t>(arguments.positional.size()))
          value = &arguments.positional[static_cast<size_t>(place)];
      } else {
        value = arguments.find(arguments.positional.size(), field);
      }
      if (value == nullptr) fail("a format has no value for {", field, "}");
      out += written(repr ? Value::string(to_repr(*value)) : *value, parse_spec(spec));
      i = end;
    }
    check_text_size(out.size());
  }
  return out;
}

}  // namespace levanter::text::jinja

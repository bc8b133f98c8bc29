// Checks one scalar against its field's kind and bounds, and sets it.
#include "config/slot.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <utility>

#include "base/files.h"
#include "base/strings.h"
#include "config/describe.h"

namespace levanter::config {

namespace {

constexpr double kExactIntegers = 1e15;  // whole doubles below it print as integers

std::string_view with_article(Kind kind) {
  switch (kind) {
    case Kind::kBool:
      return "a boolean";
    case Kind::kInteger:
      return "an integer";
    case Kind::kNumber:
      return "a number";
    case Kind::kString:
    case Kind::kWord:
      return "a string";
    case Kind::kPath:
      return "a path";
    case Kind::kDuration:
      return "a time";
    case Kind::kMap:
    case Kind::kStruct:
      return "a table";
    case Kind::kChoice:
      return "a choice";
    default:
      return "a list";
  }
}

/// Whether a quoted text is a number or a boolean when that is what is wanted.
bool reads_as(const std::string& text, bool number, bool boolean) {
  if (boolean) return text == "true" || text == "false";
  double value = 0;
  const char* end = text.data() + text.size();
  return number && !text.empty() && std::from_chars(text.data(), end, value).ptr == end;
}

/// What to write for a quoted number or boolean.
std::string hint_of_quoted(const std::string& text) {
  double value = 0;
  const auto read = std::from_chars(text.data(), text.data() + text.size(), value);
  const bool whole = text.find_first_not_of("+-0123456789") == std::string::npos;
  if (read.ec == std::errc::result_out_of_range || (whole && std::fabs(value) >= 0x1p63))
    return "integers go from -2^63 to 2^63 - 1, other numbers to about 1.8e308";
  return cat("write ", text, " without quotes");
}

bool in_bounds(const Slot& slot, double value) {
  const Field& f = slot.field;
  const bool small = f.low && (f.low_open ? value <= *f.low : value < *f.low);
  const bool large = f.high && (f.high_open ? value >= *f.high : value > *f.high);
  if (small || large) refuse(slot, small ? "is too small" : "is too large");
  return !small && !large;
}

/// A TOML integer or float as a double within the field's bounds.
bool read_number(const Slot& slot, double& out) {
  const Value& in = slot.in;
  if (in.kind != Value::Kind::kNumber && in.kind != Value::Kind::kInteger) return wrong_kind(slot);
  out = in.kind == Value::Kind::kNumber ? in.number : static_cast<double>(in.integer);
  if (std::isfinite(out)) return in_bounds(slot, out);
  refuse(slot, "is not finite");
  return false;
}

/// A NUL ends a name where the system reads it, so that another one would be meant.
bool without_nul(const Slot& slot) {
  if (slot.in.text.find('\0') == std::string::npos) return true;
  refuse(slot, "holds a NUL character");
  return false;
}

bool bind_string(const Slot& slot) {
  if (slot.in.kind != Value::Kind::kString) return wrong_kind(slot);
  if (!without_nul(slot)) return false;
  const auto& words = slot.field.words;
  if (!words.empty() && !slot.field.words_are_forms &&
      std::find(words.begin(), words.end(), slot.in.text) == words.end()) {
    hint_nearest(refuse(slot, "is not one of the words allowed here"), slot.in.text, words);
    return false;
  }
  if (slot.type.kind == Kind::kWord)
    slot.type.set_word(slot.object, slot.in.text);
  else
    *static_cast<std::string*>(slot.object) = slot.in.text;
  return true;
}

bool bind_path(const Slot& slot) {
  const Value& in = slot.in;
  if (in.kind != Value::Kind::kString) return wrong_kind(slot);
  if (!without_nul(slot)) return false;
  if (in.text.empty()) {
    refuse(slot, "is empty");
    return false;
  }
  if (in.text == "-") {  // the standard input
    *static_cast<Path*>(slot.object) = {in.text, in.text};
    return true;
  }
  if (const std::string hint = remote_hint(in.text); !hint.empty()) {
    *static_cast<Path*>(slot.object) = {in.text, in.text};  // a web address stands as it is
    const bool read = slot.field.is_web && in.text.starts_with("http");
    if (!read) refuse(slot, "is not on this machine").hint(hint);
    return true;  // the others of its list are looked at
  }
  const bool in_file = in.at.line > 0;
  *static_cast<Path*>(slot.object) = {
      in.text, absolute_path(in_file ? join_path(parent_path(in.at.file), in.text) : in.text)};
  return true;
}

bool bind_duration(const Slot& slot) {
  double seconds = 0;
  if (slot.in.kind != Value::Kind::kString) {
    if (!read_number(slot, seconds)) return false;
  } else if (!parse_duration(slot.in.text, seconds)) {
    refuse(slot, "is not a time").hint("units are d, h, m, s and ms");
    return false;
  } else if (!in_bounds(slot, seconds)) {
    return false;
  }
  *static_cast<Duration*>(slot.object) = {seconds};
  return true;
}

}  // namespace

Fault& refuse(const Slot& slot, std::string_view what) {
  return slot.problems
      .refuse(slot.path, slot.in.at,
              cat(slot.path, " = ", slot.in.print(kShownCharacters), " ", what))
      .allowed(allowed_values(slot.field, slot.type));
}

bool wrong_kind(const Slot& slot) {
  const Value& in = slot.in;
  const Kind wanted = slot.type.kind;
  Fault& fault = refuse(slot, cat("is ", in.kind_name(), ", not ", with_article(wanted)));
  const bool number = wanted == Kind::kInteger || wanted == Kind::kNumber;
  if (in.kind == Value::Kind::kNumber && wanted == Kind::kInteger &&
      in.number == std::floor(in.number) && std::fabs(in.number) < kExactIntegers)
    fault.hint(cat("write ", static_cast<int64_t>(in.number)));
  else if (in.kind == Value::Kind::kString && reads_as(in.text, number, wanted == Kind::kBool))
    fault.hint(hint_of_quoted(in.text));
  else if (in.kind == Value::Kind::kInteger && wanted == Kind::kString && slot.field.words.empty())
    fault.hint(cat("write ", quote(cat(in.integer))));
  return false;
}

bool bind_scalar(const Slot& slot) {
  const Value& in = slot.in;
  switch (slot.type.kind) {
    case Kind::kBool:
      if (in.kind != Value::Kind::kBool) return wrong_kind(slot);
      *static_cast<bool*>(slot.object) = in.boolean;
      return true;
    case Kind::kInteger:
      if (in.kind != Value::Kind::kInteger) return wrong_kind(slot);
      if (!in_bounds(slot, static_cast<double>(in.integer))) return false;
      *static_cast<int64_t*>(slot.object) = in.integer;
      return true;
    case Kind::kNumber: {
      double value = 0;
      if (!read_number(slot, value)) return false;
      *static_cast<double*>(slot.object) = value;
      return true;
    }
    case Kind::kString:
    case Kind::kWord:
      return bind_string(slot);
    case Kind::kPath:
      return bind_path(slot);
    case Kind::kDuration:
      return bind_duration(slot);
    default:
      break;
  }
  LEV_CHECK(false, "not a scalar");
  return false;
}

void hint_nearest(Fault& fault, std::string_view text, const std::vector<std::string>& words) {
  if (const std::string near = nearest(text, words); !near.empty())
    fault.hint(cat("the nearest is ", quote(near)));
}

std::string remote_hint(std::string_view path) {
  static constexpr std::pair<std::string_view, std::string_view> kFetchers[] = {
      {"s3", "aws s3 cp"},  {"gs", "gcloud storage cp"}, {"hf", "hf download"},
      {"http", "curl -LO"}, {"https", "curl -LO"},
  };
  const size_t end = path.find("://");
  if (end == std::string_view::npos || end == 0) return "";
  const std::string_view scheme = path.substr(0, end);
  if (scheme.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789+-.") != scheme.npos) return "";
  for (const auto& [known, command] : kFetchers)
    if (scheme == known) return cat("fetch it first, as with: ", command, " ", path);
  return cat(scheme, ":// is not read; fetch it first, and name the file");
}

bool parse_duration(std::string_view text, double& seconds) {
  static constexpr std::pair<std::string_view, double> kUnits[] = {
      {"ms", 1e-3}, {"s", 1}, {"m", 60}, {"h", 3600}, {"d", 86400}};
  double total = 0;
  for (bool first = true; first || !text.empty(); first = false) {
    double count = 0;
    if (text.empty() || text[0] < '0' || text[0] > '9') return false;
    const auto [end, fault] =
        std::from_chars(text.data(), text.data() + text.size(), count, std::chars_format::fixed);
    if (fault != std::errc()) return false;
    text.remove_prefix(static_cast<size_t>(end - text.data()));
    const std::string_view unit = text.substr(0, text.find_first_of("0123456789."));
    text.remove_prefix(unit.size());
    if (unit.empty()) {  // a bare number of seconds stands alone
      if (!first || !text.empty()) return false;
      seconds = count;
      return true;
    }
    const auto* known = std::find_if(std::begin(kUnits), std::end(kUnits),
                                     [&](const auto& u) { return u.first == unit; });
    if (known == std::end(kUnits)) return false;
    total += count * known->second;
  }
  seconds = total;
  return true;
}

}  // namespace levanter::config

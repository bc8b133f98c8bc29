// Texts that are JSON to Python but not to the standard: NaN, numbers of any length, halves of
// surrogate pairs.
#include "json/mend.h"

#include <charconv>
#include <cstdlib>
#include <nlohmann/json.hpp>

#include "base/strings.h"

namespace levanter {
namespace {

/// The code of \uXXXX at the beginning of a text.
std::optional<uint32_t> unicode_escape(std::string_view text) {
  if (text.size() < 6 || text[0] != '\\' || text[1] != 'u') return std::nullopt;
  uint32_t code = 0;
  const char* const begin = text.data() + 2;
  const auto [end, error] = std::from_chars(begin, begin + 4, code, 16);
  if (error != std::errc() || end != begin + 4) return std::nullopt;
  return code;
}

bool is_high(uint32_t code) { return code >= 0xD800 && code < 0xDC00; }
bool is_low(uint32_t code) { return code >= 0xDC00 && code < 0xE000; }

template <class T>
bool is_out_of_range(std::string_view number) {
  T value{};
  const char* const end = number.data() + number.size();
  const auto parsed = std::from_chars(number.data(), end, value);
  return parsed.ec == std::errc::result_out_of_range && parsed.ptr == end;
}

/// Whether a word is a number that a strict parser refuses, but Python's takes.
bool is_odd_number(std::string_view word) {
  if (word == "NaN" || word == "Infinity" || word == "-Infinity") return true;
  const std::string_view digits = word.substr(word.starts_with('-') ? 1 : 0);
  if (digits.empty() || digits[0] < '0' || digits[0] > '9') return false;
  if (digits[0] == '0' && digits.size() > 1 && digits[1] >= '0' && digits[1] <= '9') return false;
  if (digits.find_first_of(".eE") != digits.npos) return is_out_of_range<double>(word);
  return is_out_of_range<int64_t>(word) && is_out_of_range<uint64_t>(digits);
}

bool in_word(char c) {
  return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '-' ||
         c == '+' || c == '.';
}

class Mender final {
 public:
  explicit Mender(std::string_view json) : rest_(json) { out_.text.reserve(json.size()); }

  MendedJson run() {
    while (!rest_.empty()) {
      if (in_string_) {
        string_piece();
      } else if (in_word(rest_[0])) {
        word();
      } else {
        in_string_ = rest_[0] == '"';
        copy(1);
      }
    }
    return std::move(out_);
  }

 private:
  void copy(size_t count) {
    out_.text += rest_.substr(0, count);
    rest_.remove_prefix(std::min(count, rest_.size()));
  }
  void word() {
    size_t size = 1;
    while (size < rest_.size() && in_word(rest_[size])) ++size;
    const std::string_view found = rest_.substr(0, size);
    if (!is_odd_number(found) || is_key(size)) return copy(size);
    out_.text += quote(cat(kOddNumber, found));
    ++out_.numbers;
    rest_.remove_prefix(size);
  }
  /// Whether a word of that size stands where a key has to: no number is one.
  bool is_key(size_t size) const {
    const size_t next = rest_.find_first_not_of(" \t\r\n", size);
    return next != rest_.npos && rest_[next] == ':';
  }
  /// A character, an escape or a pair of surrogates.
  void string_piece() {
    const auto code = unicode_escape(rest_);
    if (!code) {
      in_string_ = rest_[0] != '"';
      return copy(rest_[0] == '\\' ? 2 : 1);
    }
    if (!is_high(*code) && !is_low(*code)) return copy(6);
    const auto next = unicode_escape(rest_.substr(6));
    if (is_high(*code) && next && is_low(*next)) return copy(12);
    out_.text += "\\ufffd";
    ++out_.surrogates;
    rest_.remove_prefix(6);
  }

  std::string_view rest_;
  bool in_string_ = false;
  MendedJson out_;
};

}  // namespace

MendedJson mend_json(std::string_view json) { return Mender(json).run(); }

std::optional<OddNumber> odd_number(std::string_view text) {
  if (!text.starts_with(kOddNumber)) return std::nullopt;
  const std::string_view digits = text.substr(kOddNumber.size());
  return OddNumber{digits, std::strtod(std::string(digits).c_str(), nullptr),
                   digits.find_first_not_of("-0123456789") == digits.npos};
}

namespace {

/// Puts doubles into the place of odd numbers.
template <class Json>
void restore_numbers(Json& value) {
  if (value.is_structured()) {
    for (Json& item : value) restore_numbers(item);
  } else if (value.is_string()) {
    const auto odd = odd_number(value.template get_ref<const std::string&>());
    if (odd) value = odd->value;
  }
}

template <class Json>
Json parse_python(std::string_view text) {
  Json json = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!json.is_discarded()) return json;  // which takes long whole numbers as doubles itself
  MendedJson mended = mend_json(text);
  json = Json::parse(mended.text, nullptr, false);
  restore_numbers(json);
  return json;
}

}  // namespace

nlohmann::json parse_as_python(std::string_view json) { return parse_python<nlohmann::json>(json); }
std::string as_written(const nlohmann::ordered_json& value) {
  const auto odd = value.is_string() ? odd_number(value.get_ref<const std::string&>())
                                     : std::optional<OddNumber>();
  return odd ? std::string(odd->digits) : value.dump();
}

nlohmann::ordered_json parse_in_order_as_python(std::string_view json) {
  return parse_python<nlohmann::ordered_json>(json);
}

}  // namespace levanter

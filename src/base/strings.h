// Building and measuring text: cat, join, split, the nearest name, numbers as people read them.
#pragma once

#include <charconv>
#include <concepts>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace levanter {

namespace detail {
inline void append(std::string& out, std::string_view text) { out += text; }
inline void append(std::string& out, const char* text) { out += text; }
inline void append(std::string& out, char c) { out += c; }
inline void append(std::string& out, bool b) { out += b ? "true" : "false"; }
void append(std::string& out, double value);
template <std::integral Int>
void append(std::string& out, Int value) {
  char digits[24];
  out.append(digits, std::to_chars(digits, digits + sizeof digits, value).ptr);
}
}  // namespace detail

/// The arguments' texts one after the other; a double is printed as format_number does.
template <class... Args>
std::string cat(const Args&... args) {
  std::string out;
  (detail::append(out, args), ...);
  return out;
}

/// The shortest decimal text that reads back as `value`: 0.1, 3, 1e-05, nan, inf, -inf.
std::string format_number(double value);

/// `value` with exactly `digits` digits after the point.
std::string format_fixed(double value, int digits);

/// 1234567 as "1,234,567".
std::string format_count(int64_t value);
/// "1 thread", "12,000 threads": a number and the noun that it counts.
std::string count_of(int64_t n, std::string_view noun);

/// Bytes in the largest fitting unit of 1024: "17 B", "1.50 MiB", "12.3 GiB".
std::string format_bytes(int64_t bytes);

/// Seconds as "0.35 s", "2m 05s", "3h 10m".
std::string format_duration(double seconds);

std::string join(std::span<const std::string> parts, std::string_view separator);
std::vector<std::string> split(std::string_view text, char separator);
std::string_view trim(std::string_view text);

/// The candidate nearest to `name` by edit distance, or "" when no one is near enough to be a slip
/// of the keyboard (distance at most a third of the longer length, at least 1).
std::string nearest(std::string_view name, std::span<const std::string> candidates);

/// Text in double quotes with control characters, quotes and backslashes escaped as in JSON.
std::string quote(std::string_view text);

/// How deep brackets nest in a JSON text: what has to be bounded before it is read, for those who
/// print or copy what they read call themselves once a level.
int json_depth(std::string_view json);

}  // namespace levanter

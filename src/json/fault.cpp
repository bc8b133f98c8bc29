// What is wrong with a text that should be JSON.
#include "json/fault.h"

#include <algorithm>
#include <cstdint>
#include <nlohmann/json.hpp>

#include "base/strings.h"

namespace levanter {

std::string where_json_is_cut(std::string_view text) {
  std::string open;
  bool in_string = false;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (in_string) {
      if (c == '\\') ++i;
      if (c == '"') in_string = false;
    } else if (c == '"') {
      in_string = true;
    } else if (c == '{' || c == '[') {
      open += c;
    } else if ((c == '}' || c == ']') && !open.empty()) {
      open.pop_back();
    }
  }
  if (in_string) return "a string";
  if (open.empty()) return "";
  return open.back() == '{' ? "an object" : "an array";
}

std::string quote_end(std::string_view text) {
  constexpr size_t kMost = 40;
  if (text.size() <= kMost) return quote(text);
  size_t from = text.size() - kMost;
  while (from < text.size() && (static_cast<uint8_t>(text[from]) & 0xC0) == 0x80) ++from;
  return quote(text.substr(from));
}

std::string where_json_breaks(std::string_view text) {
  try {
    const auto parsed = nlohmann::json::parse(text.begin(), text.end());
  } catch (const nlohmann::json::parse_error& error) {
    const size_t end = std::min(error.byte, text.size());
    return cat(" at byte ", error.byte, ", behind ", quote_end(text.substr(0, end)));
  } catch (const nlohmann::json::exception&) {
    return "";
  }
  return "";
}

}  // namespace levanter

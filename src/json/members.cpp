// The members of a JSON object as they stand in its text.
#include "json/members.h"

namespace levanter {

namespace {

/// Where the value or string ends that begins at `at` of a JSON text that is whole; the comma or
/// brace behind a number or word.
size_t end_of_value(std::string_view text, size_t at) {
  int depth = 0;
  bool in_string = false;
  for (; at < text.size(); ++at) {
    const char c = text[at];
    if (in_string) {
      if (c == '\\') ++at;
      if (c == '"') in_string = false;
      if (c != '"' || depth > 0) continue;
      return at + 1;
    }
    if (c == '"') in_string = true;
    if (c == '{' || c == '[') ++depth;
    if (depth == 0 && (c == ',' || c == '}')) return at;
    if ((c == '}' || c == ']') && --depth == 0) return at + 1;
  }
  return at;
}

}  // namespace

std::vector<JsonMember> members_of(std::string_view object) {
  std::vector<JsonMember> members;
  size_t at = object.find('{') + 1;
  while ((at = object.find_first_of("\"}", at)) < object.size() && object[at] == '"') {
    const size_t key_end = end_of_value(object, at);
    const std::string_view key = object.substr(at, key_end - at);
    const size_t begin = object.find_first_not_of(" \t\r\n:", key_end);
    at = end_of_value(object, begin);
    members.push_back({key, object.substr(begin, at - begin)});
  }
  return members;
}

}  // namespace levanter

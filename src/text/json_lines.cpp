// Writing JSON lines of texts and ids: {"text": "..."} and {"ids": [1, 2]}.
#include "text/json_lines.h"

#include <charconv>

#include "base/strings.h"
#include "text/hf/decoder.h"

namespace levanter::text {

void append_ids_line(std::string& out, std::span<const int32_t> ids) {
  out += "{\"ids\": [";
  char digits[16];
  for (size_t i = 0; i < ids.size(); ++i) {
    if (i > 0) out += ", ";
    out.append(digits, std::to_chars(digits, digits + sizeof digits, ids[i]).ptr);
  }
  out += "]}\n";
}

void append_text_line(std::string& out, const std::string& text) {
  out += cat("{\"text\": ", quote(hf::replace_invalid_utf8(text)), "}\n");
}

}  // namespace levanter::text

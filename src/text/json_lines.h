// Writing JSON lines of texts and ids: {"text": "..."} and {"ids": [1, 2]}.
#pragma once

#include <cstdint>
#include <span>
#include <string>

namespace levanter::text {

/// Appends {"ids": [1, 2]} and the line's end.
void append_ids_line(std::string& out, std::span<const int32_t> ids);
/// Appends {"text": "..."} and the line's end; U+FFFD stands for what is not UTF-8.
void append_text_line(std::string& out, const std::string& text);

}  // namespace levanter::text

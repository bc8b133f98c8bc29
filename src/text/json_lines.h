// JSON lines of texts and ids: {"text": "..."} and {"ids": [1, 2]}.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace levanter::text {

/// Reads such lines; one for each thread.
class JsonLineReader final {
 public:
  JsonLineReader();
  ~JsonLineReader();
  JsonLineReader(JsonLineReader&&) noexcept;

  /// The field "text" of a line.
  ///   place  names the line in errors, "standard input:3"
  /// error  kData when the line is no JSON object with that field
  std::string read_text(std::string_view line, const std::string& place);
  /// The field "ids".
  std::vector<int32_t> read_ids(std::string_view line, const std::string& place);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

/// Appends {"ids": [1, 2]} and the line's end.
void append_ids_line(std::string& out, std::span<const int32_t> ids);
/// Appends {"text": "..."} and the line's end; U+FFFD stands for what is not UTF-8.
void append_text_line(std::string& out, const std::string& text);

}  // namespace levanter::text

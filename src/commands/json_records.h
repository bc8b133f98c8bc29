// Records of JSON that a command answers one by one: what of them goes into the answer, and what
// becomes of those that can't be answered.
#pragma once

#include <cstdint>
#include <exception>
#include <initializer_list>
#include <span>
#include <string>
#include <string_view>

#include "base/error.h"

namespace levanter::commands {

/// A line, without the byte order mark that some programs begin a file with if it is the first, 1.
std::string_view without_mark(std::string_view line, int64_t number);

/// The members of an object of JSON that was read before, to the byte as they stand there, but for
/// what is no UTF-8, which becomes U+FFFD, and for those that an answer has itself: `"id": 7,
/// "meta": {"a": 1}, `, ready to stand before others.
std::string other_members(std::string_view record, std::initializer_list<std::string_view> own);

/// Appends {"ids": [1, 2]} and the line's end.
void append_ids_line(std::string& out, std::span<const int32_t> ids);
/// Appends {"text": "..."} and the line's end; U+FFFD stands for what is not UTF-8.
void append_text_line(std::string& out, const std::string& text);

/// Says on the standard error how many pieces of text were replaced, where any was.
void note_replaced(int64_t count);

/// The records that could not be answered.
class BadRecords final {
 public:
  /// The line that stands in the place of the answer: {"id": 7, "error": "...", "line": 2}.
  ///   members  what other_members gave
  /// error  itself, unless it is of kind kData
  std::string add(const Error& error, int64_t line, const std::string& members);
  /// Throws, where there was any: the first one's error, with their number.
  void finish() const;

 private:
  int64_t count_ = 0;
  std::exception_ptr first_;
};

}  // namespace levanter::commands

// Sources that can be read only once: the standard input and pipes.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/files.h"

namespace levanter::data {

/// Whether a path means the standard input: "-", or one of the system's names for it.
bool is_standard_input(const std::string& path);

/// What errors call a source: its path, or "the standard input".
std::string_view name_of_source(const std::string& path);

/// Whether a source can be read only once: the standard input, a named pipe, or one that the shell
/// makes for <(COMMAND), gone or not.
bool is_pipe(const std::string& path);

/// Whether somebody gave a standard input that still has something: a pipe, or a file not at its
/// end.
bool offers_standard_input();

/// Waits until the standard input has something to read.
///   key   what names it in the configuration
///   hint  what to do where nothing comes
/// error  kData where it is closed, a terminal or empty
void require_standard_input(const std::string& key, const std::string& hint);

/// A copy of the standard input in memory, which stands in its place while this lives, so that it
/// can be read more than once.
class StandardInputCopy final {
 public:
  /// Reads it to its end.
  /// error  kDevice where it is longer than `most_bytes`
  explicit StandardInputCopy(int64_t most_bytes);
  ~StandardInputCopy();
  StandardInputCopy(const StandardInputCopy&) = delete;
  StandardInputCopy& operator=(const StandardInputCopy&) = delete;

  /// The next reader begins at the beginning.
  void rewind();

 private:
  Descriptor real_;
};

}  // namespace levanter::data

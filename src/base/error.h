// The one exception that a user's mistake throws, and the check for mistakes of our own.
#pragma once

#include <exception>
#include <string>
#include <string_view>

namespace levanter {

/// What went wrong, numbered as the program's exit code.
enum class ErrorKind : int {
  kConfig = 2,      ///< the configuration or the command line
  kData = 3,        ///< a text, a tokenizer, a data set
  kCheckpoint = 4,  ///< a checkpoint that is missing, damaged or of another model
  kDevice = 5,      ///< a device, or its memory
  kIo = 6,          ///< the file system
  kGuard = 7,       ///< training stopped by its own guard
  kInternal = 70,   ///< a defect of this program
  kSignal = 75,     ///< stopped by a signal after saving
};

/// A mistake that a person can mend, in four parts (only the first is required):
///
///   error: model.num_kv_heads = 5 does not divide model.num_heads = 12
///     at       configs/llama_nano.toml:14:16
///     allowed  1, 2, 3, 4, 6, 12
///     hint     num_heads gives multi-head attention, 1 gives multi-query
///
/// The first word is lower-case and no part ends in a full stop. Only `main` prints an Error.
class Error final : public std::exception {
 public:
  Error(ErrorKind kind, std::string message);

  Error&& at(std::string place) &&;
  Error&& allowed(std::string values) &&;
  Error&& hint(std::string advice) &&;

  ErrorKind kind() const { return kind_; }
  const std::string& message() const { return message_; }
  const std::string& at() const { return at_; }
  const std::string& allowed() const { return allowed_; }
  const std::string& hint() const { return hint_; }
  /// The four parts as printed above, "error: " included, without a final newline.
  const char* what() const noexcept override { return text_.c_str(); }

 private:
  void format();

  ErrorKind kind_;
  std::string message_, at_, allowed_, hint_, text_;
};

/// Throws an Error of kind kInternal naming the condition and its place; used by LEV_CHECK.
[[noreturn]] void check_failed(const char* condition, const char* file, int line,
                               std::string_view message);

}  // namespace levanter

/// Stops with an internal error unless `condition` holds; always on. `message` is any string.
#define LEV_CHECK(condition, message) \
  ((condition) ? (void)0 : ::levanter::check_failed(#condition, __FILE__, __LINE__, (message)))

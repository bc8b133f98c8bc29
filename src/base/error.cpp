// How an Error's four parts become one text, and what a failed check of our own throws.
#include "base/error.h"

#include <utility>

#include "base/strings.h"

namespace levanter {

Error::Error(ErrorKind kind, std::string message) : kind_(kind), message_(std::move(message)) {
  format();
}

Error&& Error::at(std::string place) && {
  at_ = std::move(place);
  format();
  return std::move(*this);
}

Error&& Error::allowed(std::string values) && {
  allowed_ = std::move(values);
  format();
  return std::move(*this);
}

Error&& Error::hint(std::string advice) && {
  hint_ = std::move(advice);
  format();
  return std::move(*this);
}

void Error::format() {
  text_ = cat("error: ", message_);
  if (!at_.empty()) text_ += cat("\n  at       ", at_);
  if (!allowed_.empty()) text_ += cat("\n  allowed  ", allowed_);
  if (!hint_.empty()) text_ += cat("\n  hint     ", hint_);
}

void check_failed(const char* condition, const char* file, int line, std::string_view message) {
  throw Error(ErrorKind::kInternal, cat("internal check failed: ", message))
      .at(cat(file, ":", line))
      .hint(cat("this is a defect of levanter (", condition, "); please report it"));
}

}  // namespace levanter

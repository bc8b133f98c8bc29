#include "base/error.h"

#include <utility>

#include "base/strings.h"

namespace levanter {

Error::Error(ErrorKind kind, std::string message) : kind_(kind) {
  set(message_, std::move(message));
}

Error&& Error::at(std::string place) && { return set(at_, std::move(place)); }
Error&& Error::allowed(std::string values) && { return set(allowed_, std::move(values)); }
Error&& Error::hint(std::string advice) && { return set(hint_, std::move(advice)); }

Error&& Error::set(std::string& part, std::string text) {
  part = std::move(text);
  text_ = cat("error: ", message_);
  if (!at_.empty()) text_ += cat("\n  at       ", at_);
  if (!allowed_.empty()) text_ += cat("\n  allowed  ", allowed_);
  if (!hint_.empty()) text_ += cat("\n  hint     ", hint_);
  return std::move(*this);
}

void check_failed(const char* condition, const char* file, int line, std::string_view message) {
  throw Error(ErrorKind::kInternal, cat("internal check failed: ", message))
      .at(cat(file, ":", line))
      .hint(cat("this is a defect of levanter (", condition, "); please report it"));
}

}  // namespace levanter

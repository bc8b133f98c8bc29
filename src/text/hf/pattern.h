// What a tokenizer file splits and replaces by: a text or a regular expression.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "text/hf/json.h"
#include "text/hf/split.h"

namespace levanter::text::hf {

/// A stretch of a text: [begin, end).
struct Range {
  size_t begin, end;
  bool match;
};

class Pattern final {
 public:
  /// Of {"String": ...}, {"Regex": ...} or a text alone.
  explicit Pattern(const Value& value);
  /// Of a regular expression.
  Pattern(std::string_view expression, const std::string& place);
  ~Pattern();
  Pattern(Pattern&&) noexcept;
  Pattern& operator=(Pattern&&) noexcept;

  /// The known pattern that this is.
  KnownPattern known() const { return known_; }
  /// Cuts the whole text into what matches and what stands between.
  ///   error  kData when the expression takes more steps on this text than there may be
  void cut(std::string_view text, std::vector<Range>& out) const;
  /// The text with `content` in place of every match.
  std::string replace(std::string_view text, std::string_view content) const;

 private:
  struct Regex;

  KnownPattern known_ = KnownPattern::kNone;
  std::string literal_;
  std::unique_ptr<Regex> regex_;
};

}  // namespace levanter::text::hf

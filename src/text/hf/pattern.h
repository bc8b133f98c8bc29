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

/// Appends a match, and before it what stands between it and `done`; returns the match's end. One
/// that is empty is left out.
inline size_t push_match(std::vector<Range>& out, size_t done, size_t begin, size_t end) {
  if (begin > done) out.push_back({done, begin, false});
  if (end > begin) out.push_back({begin, end, true});
  return end;
}

class Pattern final {
 public:
  /// Of {"String": ...}, {"Regex": ...} or a text alone.
  explicit Pattern(const Value& value);
  /// Of a regular expression.
  Pattern(std::string_view expression, const std::string& place);
  /// Of a text.
  static Pattern of_text(std::string text);

  /// The known pattern that this is.
  KnownPattern known() const { return known_; }
  /// Cuts the whole text into what matches and what stands between.
  ///   error  kData when the expression takes more steps on this text than there may be
  void cut(std::string_view text, std::vector<Range>& out) const;
  /// The text with `content` in place of every match.
  std::string replace(std::string_view text, std::string_view content,
                      size_t most = SIZE_MAX) const;

 private:
  struct Regex;
  Pattern() = default;

  template <KnownPattern kPattern>
  static void cut_known(std::string_view text, std::vector<Range>& out);

  KnownPattern known_ = KnownPattern::kNone;
  std::string literal_;
  std::shared_ptr<const Regex> regex_;
};

}  // namespace levanter::text::hf

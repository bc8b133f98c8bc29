// A text that is shown while its ids still come: whole characters, ended before a stop text.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "text/tokenizer.h"

namespace levanter::text {

class GrowingText final {
 public:
  /// `tokenizer` and `stops`, none of which is empty, outlive this. `before`, where there is one,
  /// is the id that the text follows: some tokenizers leave out the space that a whole text begins
  /// with.
  GrowingText(const Tokenizer& tokenizer, std::span<const std::string> stops,
              std::optional<int32_t> before = std::nullopt);

  /// Takes all ids so far. False when a stop text has come: the text ends before it.
  bool update(std::span<const int32_t> ids);
  const std::string& text() const { return text_; }
  /// What no later id changes: without a last character that may be unfinished, and without what
  /// may become a stop text.
  std::string_view settled() const { return std::string_view(text_).substr(0, settled_); }

 private:
  std::string decode(std::span<const int32_t> ids) const;

  const Tokenizer& tokenizer_;
  std::span<const std::string> stops_;
  std::vector<int32_t> before_;  ///< the id or nothing, and its text
  std::string before_text_;
  std::string text_;
  size_t settled_ = 0;
};

}  // namespace levanter::text

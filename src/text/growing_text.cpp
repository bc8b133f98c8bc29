// A text that is shown while its ids still come: whole characters, ended before a stop text.
#include "text/growing_text.h"

#include <algorithm>

namespace levanter::text {

namespace {

/// Where the last character begins if more bytes may belong to it: bytes of a scalar that is not
/// complete, or the U+FFFD that some tokenizers write for those.
size_t unfinished(std::string_view text) {
  constexpr std::string_view kReplacement = "\xef\xbf\xbd";
  size_t end = text.size();
  while (end > 0 && text.substr(0, end).ends_with(kReplacement)) end -= kReplacement.size();
  if (end < text.size()) return end;
  for (size_t back = 1; back <= std::min<size_t>(3, text.size()); ++back) {
    const auto byte = static_cast<unsigned char>(text[text.size() - back]);
    if (byte < 0x80) break;
    if (byte < 0xc0) continue;  // a scalar's later byte
    size_t length = 2;
    if (byte >= 0xe0) length = 3;
    if (byte >= 0xf0) length = 4;
    return length > back ? text.size() - back : text.size();
  }
  return text.size();
}

/// Where the longest end of `text` begins, at or after `from`, that a stop text begins with.
size_t possible_stop(std::string_view text, size_t from, std::span<const std::string> stops) {
  size_t first = text.size();
  for (const std::string& stop : stops) {
    const size_t longest = std::min(stop.size() - 1, text.size() - from);
    for (size_t at = text.size() - longest; at < first; ++at)
      if (stop.starts_with(text.substr(at))) first = at;
  }
  return first;
}

}  // namespace

GrowingText::GrowingText(const Tokenizer& tokenizer, std::span<const std::string> stops,
                         std::optional<int32_t> before)
    : tokenizer_(tokenizer), stops_(stops) {
  if (!before || tokenizer.byte_length(*before) == 0) return;  // a special token ends what was
  before_ = {*before};
  before_text_ = tokenizer.decode(before_);
}

std::string GrowingText::decode(std::span<const int32_t> ids) const {
  if (before_.empty()) return tokenizer_.decode(ids);
  std::vector<int32_t> all = before_;
  all.insert(all.end(), ids.begin(), ids.end());
  std::string text = tokenizer_.decode(all);
  // Not so where the id and what follows make one character.
  return text.starts_with(before_text_) ? text.substr(before_text_.size()) : tokenizer_.decode(ids);
}

bool GrowingText::update(std::span<const int32_t> ids) {
  text_ = decode(ids);
  const size_t from = std::min(settled_, text_.size());  // no stop text begins before
  size_t stop_at = std::string::npos;
  for (const std::string& stop : stops_) stop_at = std::min(stop_at, text_.find(stop, from));
  if (stop_at != std::string::npos) {
    text_.resize(stop_at);
    settled_ = stop_at;
    return false;
  }
  size_t sure = ids.size();
  while (sure > 0 && tokenizer_.is_loose_byte(ids[sure - 1])) --sure;
  const size_t decided =
      sure == ids.size() ? text_.size() : std::min(text_.size(), decode(ids.first(sure)).size());
  settled_ =
      std::max(from, std::min({decided, unfinished(text_), possible_stop(text_, from, stops_)}));
  return true;
}

}  // namespace levanter::text

// Where in a text its tokens lie, and so which tokens hold a part of it.
#include "text/hf/alignment.h"

#include <algorithm>

#include "text/hf/unicode.h"

namespace levanter::text::hf {
namespace {

constexpr std::string_view kMark = "\u2581";
constexpr size_t kNone = std::string_view::npos;
constexpr size_t kReach = 4096;  // bytes that are searched for a token behind unknown ones

/// Where `surface` ends when it stands at `at`; kNone when it does not.
size_t end_of(std::string_view text, size_t at, std::string_view surface) {
  if (text.substr(at).starts_with(surface)) return at + surface.size();
  while (!surface.empty()) {
    const bool mark = surface.starts_with(kMark) && !text.substr(at).starts_with(kMark);
    if (at >= text.size() || text[at] != (mark ? ' ' : surface[0])) return kNone;
    ++at;
    surface.remove_prefix(mark ? kMark.size() : 1);
  }
  return at;
}

/// The same, or without the space that the tokenizer put before it.
size_t end_of_word(std::string_view text, size_t at, std::string_view surface) {
  if (const size_t end = end_of(text, at, surface); end != kNone) return end;
  size_t space = surface.starts_with(' ') ? 1 : 0;
  if (surface.starts_with(kMark)) space = kMark.size();
  return space == 0 ? kNone : end_of(text, at, surface.substr(space));
}

/// The characters of a part of the text that are no white space.
std::vector<ByteSpan> characters(std::string_view text, ByteSpan part) {
  std::vector<ByteSpan> out;
  const CharClasses& classes = CharClasses::get();
  for (size_t at = part.begin; at < part.end;) {
    const char* p = text.data() + at;
    const bool space = (classes.of(next_scalar(p)) & kSpace) != 0;
    const auto end = static_cast<size_t>(p - text.data());
    if (!space) out.push_back({at, end});
    at = end;
  }
  return out;
}

}  // namespace

std::vector<ByteSpan> align(std::string_view text, std::span<const std::string> surfaces) {
  std::vector<ByteSpan> spans(surfaces.size());
  size_t at = 0, placed = 0;  // spans[0, placed) lie before `at`
  const auto place_unknown = [&](size_t count, size_t end) {
    if (placed == count) return;
    const std::vector<ByteSpan> each = characters(text, {at, end});
    const bool one_each = each.size() == count - placed;
    for (size_t i = 0; placed < count; ++placed, ++i)
      spans[placed] = one_each ? each[i] : ByteSpan{at, end};
  };
  for (size_t i = 0; i < surfaces.size(); ++i) {
    if (surfaces[i].empty()) continue;
    const bool known_before = placed == i;
    const size_t last = std::min(text.size(), at + kReach);
    for (size_t begin = at; begin <= last; ++begin) {
      const size_t end =
          known_before ? end_of_word(text, begin, surfaces[i]) : end_of(text, begin, surfaces[i]);
      if (end == kNone) continue;
      place_unknown(i, begin);
      spans[placed++] = {begin, end};
      at = end;
      break;
    }
  }
  place_unknown(surfaces.size(), text.size());
  return spans;
}

ByteSpan normalized_span(std::string_view text, ByteSpan span, std::string_view normalized,
                         const std::function<std::string(std::string_view)>& normalize) {
  const auto place = [&](size_t offset) {
    if (offset == 0) return size_t{0};
    if (offset >= text.size()) return normalized.size();
    const std::string before = normalize(text.substr(0, offset));
    const auto differs =
        std::mismatch(before.begin(), before.end(), normalized.begin(), normalized.end());
    return static_cast<size_t>(differs.first - before.begin());
  };
  return {place(span.begin), place(span.end)};
}

bool touches(ByteSpan token, ByteSpan span) {
  return token.begin < span.end && std::max(token.end, token.begin + 1) > span.begin;
}

}  // namespace levanter::text::hf

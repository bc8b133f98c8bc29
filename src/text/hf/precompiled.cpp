// SentencePiece's compiled character map (a double-array trie over UTF-8), normalizer
// "Precompiled".
#include <utf8proc.h>

#include <cstring>

#include "text/hf/normalizer.h"
#include "text/hf/unicode.h"

namespace levanter::text::hf {
namespace {

std::string decode_base64(std::string_view text, const Value& value) {
  std::string out;
  uint32_t bits = 0;
  int count = 0;
  for (const char c : text) {
    if (c == '=') break;
    const size_t digit = kBase64Digits.find(c);
    if (digit == text.npos) value.throw_wrong("precompiled_charsmap", "a text in base64");
    bits = bits << 6 | static_cast<uint32_t>(digit);
    count += 6;
    if (count < 8) continue;
    count -= 8;
    out += static_cast<char>(bits >> count & 255);
  }
  return out;
}

class CharacterMap final {
 public:
  explicit CharacterMap(const Value& value) {
    const std::string map = decode_base64(value.text("precompiled_charsmap"), value);
    uint32_t bytes = 0;
    if (map.size() >= sizeof bytes) std::memcpy(&bytes, map.data(), sizeof bytes);
    if (bytes % 4 != 0 || bytes == 0 || map.size() - sizeof bytes < bytes)
      value.throw_wrong("precompiled_charsmap", "a SentencePiece character map");
    units_.resize(bytes / 4);
    std::memcpy(units_.data(), map.data() + sizeof bytes, bytes);
    texts_ = map.substr(sizeof bytes + bytes);
    texts_ += '\0';
  }

  std::string operator()(std::string_view text) const {
    std::string out;
    out.reserve(text.size());
    for (size_t at = 0; at < text.size();) {
      const size_t end = cluster_end(text, at);
      const std::string_view cluster = text.substr(at, end - at);
      at = end;
      if (cluster.size() < 6)
        if (const char* found = find(cluster)) {
          out += found;
          continue;
        }
      for (size_t i = 0; i < cluster.size();) {
        const std::string_view character = cluster.substr(i, length_at(cluster[i]));
        const char* found = find(character);
        out += found != nullptr ? std::string_view(found) : character;
        i += character.size();
      }
    }
    return out;
  }

 private:
  /// The end of the extended grapheme cluster at `at`.
  static size_t cluster_end(std::string_view text, size_t at) {
    const char *p = text.data() + at, *end = text.data() + text.size();
    int32_t state = 0;
    uint32_t before = next_scalar(p);
    while (p < end) {
      const char* q = p;
      const uint32_t scalar = next_scalar(q);
      if (utf8proc_grapheme_break_stateful(static_cast<int32_t>(before),
                                           static_cast<int32_t>(scalar), &state))
        break;
      before = scalar;
      p = q;
    }
    return static_cast<size_t>(p - text.data());
  }

  /// What the map's shortest key that begins `key` becomes; null when there is none.
  const char* find(std::string_view key) const {
    const auto unit_at = [&](uint32_t at) { return at < units_.size() ? units_[at] : 0; };
    const auto offset = [](uint32_t unit) { return (unit >> 10) << ((unit & (1u << 9)) >> 6); };
    uint32_t at = offset(unit_at(0));
    for (const char c : key) {
      const auto byte = static_cast<uint8_t>(c);
      if (byte == 0) return nullptr;
      at ^= byte;
      const uint32_t unit = unit_at(at);
      if ((unit & ((1u << 31) | 255)) != byte) return nullptr;
      at ^= offset(unit);
      if ((unit >> 8 & 1) == 0) continue;
      const uint32_t begin = unit_at(at) & ((1u << 31) - 1);
      return begin < texts_.size() ? texts_.data() + begin : nullptr;
    }
    return nullptr;
  }

  std::vector<uint32_t> units_;
  std::string texts_;
};

}  // namespace

NormalStep make_precompiled(const Value& value) { return CharacterMap(value); }

}  // namespace levanter::text::hf

// UTF-8 (RFC 3629): reading and writing one scalar at a time, and naming places in a text.
#include "text/utf8.h"

#include <algorithm>

#include "base/strings.h"

namespace levanter::text {

int scalar_length(uint32_t scalar) {
  return scalar < 0x80 ? 1 : scalar < 0x800 ? 2 : scalar < 0x10000 ? 3 : 4;
}

int read_scalar(std::string_view text, size_t offset, uint32_t& scalar) {
  const auto byte = [&](size_t i) { return static_cast<uint8_t>(text[offset + i]); };
  const uint8_t lead = byte(0);
  if (lead < 0x80) {
    scalar = lead;
    return 1;
  }
  const int length = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : 2;
  if (lead < 0xC2 || lead > 0xF4 || text.size() - offset < static_cast<size_t>(length)) return 0;
  scalar = lead & (0x7Fu >> length);
  for (int i = 1; i < length; ++i) {
    const uint8_t next = byte(static_cast<size_t>(i));
    if ((next & 0xC0) != 0x80) return 0;
    scalar = scalar << 6 | (next & 0x3Fu);
  }
  const bool surrogate = scalar >= 0xD800 && scalar < 0xE000;
  return scalar_length(scalar) == length && !surrogate && scalar < kScalarLimit ? length : 0;
}

void append_scalar(std::string& out, uint32_t scalar) {
  const auto put = [&](uint32_t byte) { out += static_cast<char>(byte); };
  const auto tail = [&](int shift) { put(0x80u | ((scalar >> shift) & 0x3Fu)); };
  switch (scalar_length(scalar)) {
    case 1:
      put(scalar);
      break;
    case 2:
      put(0xC0u | scalar >> 6), tail(0);
      break;
    case 3:
      put(0xE0u | scalar >> 12), tail(6), tail(0);
      break;
    default:
      put(0xF0u | scalar >> 18), tail(12), tail(6), tail(0);
  }
}

std::string describe_scalar(uint32_t scalar) {
  constexpr char kDigits[] = "0123456789ABCDEF";
  std::string code = "U+";
  for (int shift = scalar >= 0x100000 ? 20 : scalar >= 0x10000 ? 16 : 12; shift >= 0; shift -= 4)
    code += kDigits[scalar >> shift & 15];
  const bool control = scalar < 0x20 || (scalar >= 0x7F && scalar < 0xA0);
  if (control) return code;
  std::string out = "'";
  append_scalar(out, scalar);
  return cat(out, "' (", code, ")");
}

std::string place_in_text(std::string_view text, std::string_view origin, size_t offset) {
  const auto lines = std::count(text.begin(), text.begin() + static_cast<ptrdiff_t>(offset), '\n');
  return cat(origin, ": byte ", offset, " (line ", lines + 1, ")");
}

}  // namespace levanter::text

// UTF-8 (RFC 3629): reading and writing one scalar at a time, and naming places in a text.
#include "text/utf8.h"

#include <algorithm>
#include <cstring>

#include "base/strings.h"

namespace levanter::text {
namespace {

/// Bytes from `offset` on that are ASCII, found eight at a time: at least those before the first
/// other byte's group of eight.
size_t skip_ascii(std::string_view text, size_t offset) {
  for (uint64_t word; offset + sizeof word <= text.size(); offset += sizeof word) {
    std::memcpy(&word, text.data() + offset, sizeof word);
    if ((word & 0x8080808080808080u) != 0) break;
  }
  return offset;
}

/// Bytes of the scalar that this lead byte, of several, begins.
constexpr size_t length_after(uint8_t lead) {
  if (lead >= 0xF0) return 4;
  return lead >= 0xE0 ? 3 : 2;
}

/// Length of the broken sequence at `offset`: as far as it could still become a scalar, at least 1.
size_t broken_length(std::string_view text, size_t offset) {
  const auto byte = [&](size_t i) { return static_cast<uint8_t>(text[offset + i]); };
  const uint8_t lead = byte(0);
  if (lead < 0xC2 || lead > 0xF4) return 1;
  const size_t wanted = length_after(lead);
  // Which second bytes make neither a form too long, nor a surrogate, nor a value too large.
  uint8_t low = 0x80, high = 0xBF;
  if (lead == 0xE0) low = 0xA0;
  if (lead == 0xED) high = 0x9F;
  if (lead == 0xF0) low = 0x90;
  if (lead == 0xF4) high = 0x8F;
  size_t length = 1;
  while (length < wanted && offset + length < text.size()) {
    const uint8_t next = byte(length);
    if (length == 1 ? next < low || next > high : (next & 0xC0) != 0x80) break;
    ++length;
  }
  return length;
}

}  // namespace

size_t find_broken_utf8(std::string_view text) {
  uint32_t scalar = 0;
  for (size_t at = 0;;) {
    at = skip_ascii(text, at);
    // The rest of this group of eight, and as many scalars as follow without a pause.
    for (size_t scalars = 0; scalars < 8; ++scalars) {
      if (at >= text.size()) return text.size();
      const int length = read_scalar(text, at, scalar);
      if (length == 0) return at;
      at += static_cast<size_t>(length);
    }
  }
}

int64_t append_mended_utf8(std::string& out, std::string_view text) {
  int64_t count = 0;
  while (!text.empty()) {
    const size_t good = find_broken_utf8(text);
    out += text.substr(0, good);
    if (good == text.size()) break;
    append_scalar(out, 0xFFFD);
    ++count;
    text.remove_prefix(good + broken_length(text, good));
  }
  return count;
}

int scalar_length(uint32_t scalar) {
  if (scalar < 0x80) return 1;
  if (scalar < 0x800) return 2;
  return scalar < 0x10000 ? 3 : 4;
}

int read_scalar(std::string_view text, size_t offset, uint32_t& scalar) {
  const auto byte = [&](size_t i) { return static_cast<uint8_t>(text[offset + i]); };
  const uint8_t lead = byte(0);
  if (lead < 0x80) {
    scalar = lead;
    return 1;
  }
  const int length = static_cast<int>(length_after(lead));
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
      put(0xC0u | scalar >> 6);
      tail(0);
      break;
    case 3:
      put(0xE0u | scalar >> 12);
      tail(6);
      tail(0);
      break;
    default:
      put(0xF0u | scalar >> 18);
      tail(12);
      tail(6);
      tail(0);
  }
}

std::string describe_scalar(uint32_t scalar) {
  constexpr char kDigits[] = "0123456789ABCDEF";
  std::string code = "U+";
  int digits = 4;
  while (scalar >> 4 * digits != 0) ++digits;
  while (digits-- > 0) code += kDigits[scalar >> 4 * digits & 15];
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

std::string describe_replaced(int64_t pieces) {
  return cat(count_of(pieces, "piece"), " of text ", pieces == 1 ? "was" : "were",
             " no UTF-8 and became U+FFFD");
}

}  // namespace levanter::text

// UTF-8 (RFC 3629): reading and writing one scalar at a time, and naming places in a text.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace levanter::text {

/// One more than the largest Unicode scalar.
inline constexpr uint32_t kScalarLimit = 0x110000;

/// Reads the scalar that begins at `text[offset]`.
/// returns its length in bytes, 1 to 4, or 0 where the bytes are not UTF-8: a stray or missing
/// continuation, a form longer than needed, a surrogate, or a value beyond U+10FFFF
int read_scalar(std::string_view text, size_t offset, uint32_t& scalar);

/// The place of the first byte that belongs to no scalar, or text.size() where all is UTF-8.
size_t find_broken_utf8(std::string_view text);

/// Appends `text` with each broken sequence as one U+FFFD: the longest beginning of a scalar that
/// stands there, else one byte (Unicode 15, 3.9; as Python's errors="replace").
/// returns how many were replaced
int64_t append_mended_utf8(std::string& out, std::string_view text);

/// Appends the scalar's 1 to 4 bytes.
void append_scalar(std::string& out, uint32_t scalar);

/// Bytes of the scalar in UTF-8, 1 to 4.
int scalar_length(uint32_t scalar);

/// A scalar as people name it: "'é' (U+00E9)", or "U+000A" alone for what does not print.
std::string describe_scalar(uint32_t scalar);

/// Where the byte `offset` of `text` is: "poems.txt: byte 17 (line 2)"; bytes from 0, lines from 1.
///   origin  names the text, such as a path
std::string place_in_text(std::string_view text, std::string_view origin, size_t offset);

/// "2 pieces of text were no UTF-8 and became U+FFFD".
std::string describe_replaced(int64_t pieces);

}  // namespace levanter::text

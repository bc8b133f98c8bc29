// SHA-256 (FIPS 180-4), for reference results that are given by their digest.
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <string>

namespace levanter::testing {

/// The digest of `text` in lower-case hexadecimal.
inline std::string sha256(std::string text) {
  // The constants are the first 32 bits of the fractions of roots of the first primes.
  uint32_t k[64], h[8];
  int found = 0;
  for (uint64_t p = 2; found < 64; ++p) {
    bool prime = true;
    for (uint64_t q = 2; q * q <= p; ++q) prime &= p % q != 0;
    if (!prime) continue;
    const auto fraction = [](long double root) {
      return static_cast<uint32_t>((root - std::floor(root)) * 4294967296.0L);
    };
    if (found < 8) h[found] = fraction(std::sqrt(static_cast<long double>(p)));
    k[found++] = fraction(std::cbrt(static_cast<long double>(p)));
  }
  const uint64_t bits = text.size() * 8;
  text += '\x80';
  while (text.size() % 64 != 56) text += '\0';
  for (int shift = 56; shift >= 0; shift -= 8) text += static_cast<char>(bits >> shift);
  for (size_t block = 0; block < text.size(); block += 64) {
    uint32_t w[64], v[8];
    for (size_t i = 0; i < 16; ++i) {
      w[i] = 0;
      for (size_t b = 0; b < 4; ++b)
        w[i] = w[i] << 8 | static_cast<uint8_t>(text[block + 4 * i + b]);
    }
    for (size_t i = 16; i < 64; ++i) {
      const uint32_t a = w[i - 15], b = w[i - 2];
      w[i] = w[i - 16] + (std::rotr(a, 7) ^ std::rotr(a, 18) ^ a >> 3) + w[i - 7] +
             (std::rotr(b, 17) ^ std::rotr(b, 19) ^ b >> 10);
    }
    for (int i = 0; i < 8; ++i) v[i] = h[i];
    for (size_t i = 0; i < 64; ++i) {
      const uint32_t e = v[4], a = v[0];
      const uint32_t one = v[7] + (std::rotr(e, 6) ^ std::rotr(e, 11) ^ std::rotr(e, 25)) +
                           ((e & v[5]) ^ (~e & v[6])) + k[i] + w[i];
      const uint32_t two = (std::rotr(a, 2) ^ std::rotr(a, 13) ^ std::rotr(a, 22)) +
                           ((a & v[1]) ^ (a & v[2]) ^ (v[1] & v[2]));
      for (int j = 7; j > 0; --j) v[j] = v[j - 1];
      v[4] += one;
      v[0] = one + two;
    }
    for (int i = 0; i < 8; ++i) h[i] += v[i];
  }
  std::string out;
  char digits[9];
  for (const uint32_t word : h) {
    std::snprintf(digits, sizeof digits, "%08x", word);
    out += digits;
  }
  return out;
}

}  // namespace levanter::testing

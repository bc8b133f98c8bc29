// What the caches are told: what is needed next, and what they cannot hold until it is read.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

namespace levanter::cpu {

/// From this size on an array leaves the second-level cache before anything reads it, and an
/// ordinary store would fetch each of its lines only to overwrite it. Measured on Zen 4.
inline constexpr int64_t kStreamedBytes = 2 << 20;
inline constexpr int64_t kLineBytes = 64;

/// Asks for the lines of a row that is to be read, into the second cache: lines on their way into
/// the first one hold up what misses it meanwhile.
template <class Element>
void ask_for(const Element* row, int64_t width) {
  constexpr auto kLine = kLineBytes / static_cast<int64_t>(sizeof(Element));
  constexpr int kRead = 0, kSecondCache = 2;
  for (int64_t i = 0; i < width; i += kLine) __builtin_prefetch(row + i, kRead, kSecondCache);
}

#if defined(__SSE2__)
/// memcpy whose whole lines go past the caches; finish_streams() must follow.
inline void stream(void* to, const void* from, size_t bytes) {
  constexpr size_t kLine = kLineBytes, kWord = sizeof(__m128i);
  auto* y = static_cast<std::byte*>(to);
  const auto* x = static_cast<const std::byte*>(from);
  const size_t before = std::min(bytes, -reinterpret_cast<uintptr_t>(to) % kLine);
  std::memcpy(y, x, before);
  size_t i = before;
  for (; i + kLine <= bytes; i += kLine)
    for (size_t word = i; word < i + kLine; word += kWord)
      _mm_stream_si128(reinterpret_cast<__m128i*>(y + word),
                       _mm_loadu_si128(reinterpret_cast<const __m128i*>(x + word)));
  std::memcpy(y + i, x + i, bytes - i);
}

/// Other threads may read what was streamed once this has returned and they are told.
inline void finish_streams() { _mm_sfence(); }
#else
inline void stream(void* to, const void* from, size_t bytes) { std::memcpy(to, from, bytes); }
inline void finish_streams() {}
#endif

}  // namespace levanter::cpu

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

/// Bytes of an array from which its parts leave the second-level caches before they are needed
/// again, so that writing them the usual way would first read them.
inline constexpr int64_t kStreamedBytes = 2 << 20;

/// Asks for the cache lines of a row that is to be read, or written.
template <class Element>
void ask_for(const Element* row, int64_t width) {
  constexpr auto kLine = static_cast<int64_t>(64 / sizeof(Element));
  for (int64_t i = 0; i < width; i += kLine) __builtin_prefetch(row + i);
}
template <class Element>
void ask_to_write(Element* row, int64_t width) {
  constexpr auto kLine = static_cast<int64_t>(64 / sizeof(Element));
  for (int64_t i = 0; i < width; i += kLine) __builtin_prefetch(row + i, 1);
}

#if defined(__SSE2__)
/// memcpy whose whole lines of 64 bytes go past the caches.
inline void stream(void* to, const void* from, size_t bytes) {
  constexpr size_t kLine = 64, kWord = sizeof(__m128i);
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

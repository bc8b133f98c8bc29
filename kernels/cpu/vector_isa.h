// Sixteen f32 lanes in as many registers as the instruction set needs; for the vector_*.cpp only.
//
// Those files are compiled once for each level (-march=x86-64-v2, -v3, -v4, with LEVANTER_ISA=v2,
// v3, v4; on other processors LEVANTER_ISA=plain) into a namespace of that name. They call no
// inline function of the standard library: the linker keeps one copy of such a function, and it
// might be one that this machine cannot run.
#pragma once

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include <cstddef>
#include <cstdint>

#ifndef LEVANTER_ISA
#error "compile the vector kernels with -DLEVANTER_ISA=v2, v3, v4 or plain and the matching -march"
#endif

namespace levanter::cpu::LEVANTER_ISA {

/// Two vectors side by side, with the operations of one.
template <class Half>
struct Pair {
  Half lo, hi;
};

typedef float Floats4 __attribute__((vector_size(16)));
#if defined(__AVX512F__)
typedef float Floats8 __attribute__((vector_size(32)));
typedef float Floats __attribute__((vector_size(64)));
typedef int32_t Ints __attribute__((vector_size(64)));
typedef uint32_t Words __attribute__((vector_size(64)));
#elif defined(__AVX2__)
typedef float Floats8 __attribute__((vector_size(32)));
typedef int32_t Ints8 __attribute__((vector_size(32)));
typedef uint32_t Words8 __attribute__((vector_size(32)));
using Floats = Pair<Floats8>;
using Ints = Pair<Ints8>;
using Words = Pair<Words8>;
#else
typedef int32_t Ints4 __attribute__((vector_size(16)));
typedef uint32_t Words4 __attribute__((vector_size(16)));
typedef uint16_t Halves4 __attribute__((vector_size(8)));
using Floats = Pair<Pair<Floats4>>;
using Ints = Pair<Pair<Ints4>>;
using Words = Pair<Pair<Words4>>;
#endif

inline constexpr int64_t kLanes = 16;
static_assert(sizeof(Floats) == 64 && sizeof(Ints) == 64);

// Operators of pairs. Comparisons give Ints, -1 for true.
#define LEVANTER_BY_HALVES(op)                                         \
  template <class H>                                                   \
  [[gnu::always_inline]] inline auto operator op(Pair<H> a, Pair<H> b) \
      ->Pair<decltype(a.lo op b.lo)> {                                 \
    return {a.lo op b.lo, a.hi op b.hi};                               \
  }
LEVANTER_BY_HALVES(+)
LEVANTER_BY_HALVES(-)
LEVANTER_BY_HALVES(*)
LEVANTER_BY_HALVES(/)
LEVANTER_BY_HALVES(&)
LEVANTER_BY_HALVES(|)
LEVANTER_BY_HALVES(^)
LEVANTER_BY_HALVES(<)
LEVANTER_BY_HALVES(<=)
LEVANTER_BY_HALVES(==)
LEVANTER_BY_HALVES(!=)
#undef LEVANTER_BY_HALVES
template <class H>
[[gnu::always_inline]] inline Pair<H> operator<<(Pair<H> a, int count) {
  return {a.lo << count, a.hi << count};
}
template <class H>
[[gnu::always_inline]] inline Pair<H> operator>>(Pair<H> a, int count) {
  return {a.lo >> count, a.hi >> count};
}

/// mask ? a : b, lane by lane.
template <class M, class V>
[[gnu::always_inline]] inline V select(M mask, V a, V b) {
  return mask ? a : b;
}
template <class M, class V>
[[gnu::always_inline]] inline Pair<V> select(Pair<M> mask, Pair<V> a, Pair<V> b) {
  return {select(mask.lo, a.lo, b.lo), select(mask.hi, a.hi, b.hi)};
}

/// The same bits as another kind of lane.
template <class To, class From>
struct Recast {
  [[gnu::always_inline]] static To of(From a) { return (To)a; }
};
template <class To, class From>
struct Recast<Pair<To>, Pair<From>> {
  [[gnu::always_inline]] static Pair<To> of(Pair<From> a) {
    return {Recast<To, From>::of(a.lo), Recast<To, From>::of(a.hi)};
  }
};
[[gnu::always_inline]] inline Ints bits(Floats a) { return Recast<Ints, Floats>::of(a); }
[[gnu::always_inline]] inline Floats from_bits(Ints a) { return Recast<Floats, Ints>::of(a); }
[[gnu::always_inline]] inline Floats from_bits(Words a) { return Recast<Floats, Words>::of(a); }
[[gnu::always_inline]] inline Words words(Floats a) { return Recast<Words, Floats>::of(a); }

/// Reads and writes at any address, register by register.
template <class V>
struct Span {
  [[gnu::always_inline]] static V load(const char* p) {
    V r;
    __builtin_memcpy(&r, p, sizeof r);
    return r;
  }
  [[gnu::always_inline]] static void store(char* p, V a) { __builtin_memcpy(p, &a, sizeof a); }
};
template <class H>
struct Span<Pair<H>> {
  [[gnu::always_inline]] static Pair<H> load(const char* p) {
    return {Span<H>::load(p), Span<H>::load(p + sizeof(H))};
  }
  [[gnu::always_inline]] static void store(char* p, Pair<H> a) {
    Span<H>::store(p, a.lo);
    Span<H>::store(p + sizeof(H), a.hi);
  }
};
[[gnu::always_inline]] inline Floats load(const float* p) {
  return Span<Floats>::load(reinterpret_cast<const char*>(p));
}
[[gnu::always_inline]] inline Ints load(const int32_t* p) {
  return Span<Ints>::load(reinterpret_cast<const char*>(p));
}
[[gnu::always_inline]] inline Words load(const uint32_t* p) {
  return Span<Words>::load(reinterpret_cast<const char*>(p));
}
[[gnu::always_inline]] inline void store(float* p, Floats a) {
  Span<Floats>::store(reinterpret_cast<char*>(p), a);
}
[[gnu::always_inline]] inline void store(uint32_t* p, Words a) {
  Span<Words>::store(reinterpret_cast<char*>(p), a);
}

#if defined(__AVX512F__)
[[gnu::always_inline]] inline Floats splat(float x) { return (Floats)_mm512_set1_ps(x); }
[[gnu::always_inline]] inline Ints splat(int32_t x) { return (Ints)_mm512_set1_epi32(x); }
[[gnu::always_inline]] inline Floats root(Floats a) {
  return (Floats)_mm512_maskz_sqrt_ps(0xffff, (__m512)a);
}
[[gnu::always_inline]] inline Floats to_floats(Ints a) {
  return (Floats)_mm512_maskz_cvtepi32_ps(0xffff, (__m512i)a);
}
/// The first `count` < 16 elements, 0 in the other lanes.
[[gnu::always_inline]] inline Floats load_part(const float* p, int64_t count) {
  return (Floats)_mm512_maskz_loadu_ps(static_cast<__mmask16>((1u << count) - 1), p);
}
[[gnu::always_inline]] inline void store_part(float* p, Floats a, int64_t count) {
  _mm512_mask_storeu_ps(p, static_cast<__mmask16>((1u << count) - 1), (__m512)a);
}
#else
#if defined(__AVX2__)
[[gnu::always_inline]] inline Floats splat(float x) {
  const auto half = (Floats8)_mm256_set1_ps(x);
  return {half, half};
}
[[gnu::always_inline]] inline Ints splat(int32_t x) {
  const auto half = (Ints8)_mm256_set1_epi32(x);
  return {half, half};
}
[[gnu::always_inline]] inline Floats root(Floats a) {
  return {(Floats8)_mm256_sqrt_ps((__m256)a.lo), (Floats8)_mm256_sqrt_ps((__m256)a.hi)};
}
[[gnu::always_inline]] inline Floats to_floats(Ints a) {
  return {(Floats8)_mm256_cvtepi32_ps((__m256i)a.lo), (Floats8)_mm256_cvtepi32_ps((__m256i)a.hi)};
}
#else
[[gnu::always_inline]] inline Floats splat(float x) {
  const Floats4 part = {x, x, x, x};
  return {{part, part}, {part, part}};
}
[[gnu::always_inline]] inline Ints splat(int32_t x) {
  const Ints4 part = {x, x, x, x};
  return {{part, part}, {part, part}};
}
[[gnu::always_inline]] inline Floats root(Floats a) {
  const auto one = [](Floats4 part) {
    for (int i = 0; i < 4; ++i) part[i] = __builtin_sqrtf(part[i]);
    return part;
  };
  return {{one(a.lo.lo), one(a.lo.hi)}, {one(a.hi.lo), one(a.hi.hi)}};
}
[[gnu::always_inline]] inline Floats to_floats(Ints a) {
  const auto one = [](Ints4 part) { return __builtin_convertvector(part, Floats4); };
  return {{one(a.lo.lo), one(a.lo.hi)}, {one(a.hi.lo), one(a.hi.hi)}};
}
#endif
/// The first `count` < 16 elements, 0 in the other lanes.
[[gnu::always_inline]] inline Floats load_part(const float* p, int64_t count) {
  float lanes[kLanes] = {};
  for (int64_t i = 0; i < count; ++i) lanes[i] = p[i];
  return load(lanes);
}
[[gnu::always_inline]] inline void store_part(float* p, Floats a, int64_t count) {
  float lanes[kLanes];
  store(lanes, a);
  for (int64_t i = 0; i < count; ++i) p[i] = lanes[i];
}
#endif

constexpr int64_t kLineBytes = 64;
/// Asks for a line that is needed soon, into the second cache: lines on their way into the first
/// one hold up what misses it meanwhile.
[[gnu::always_inline]] inline void fetch_ahead(const void* p) {
  constexpr int kRead = 0, kSecondCache = 2;
  __builtin_prefetch(p, kRead, kSecondCache);
}

/// Sixteen 16-bit words as the lower halves of lanes, and back; the upper halves are 0.
#if defined(__AVX512F__)
[[gnu::always_inline]] inline Words load_halves(const uint16_t* p) {
  return (Words)_mm512_maskz_cvtepu16_epi32(0xffff, _mm256_loadu_si256((const __m256i*)p));
}
[[gnu::always_inline]] inline void store_halves(uint16_t* p, Words a) {
  _mm256_storeu_si256((__m256i*)p, _mm512_maskz_cvtepi32_epi16(0xffff, (__m512i)a));
}
#elif defined(__AVX2__)
[[gnu::always_inline]] inline Words load_halves(const uint16_t* p) {
  return {(Words8)_mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i*)p)),
          (Words8)_mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i*)(p + 8)))};
}
[[gnu::always_inline]] inline void store_halves(uint16_t* p, Words a) {
  const __m256i mixed = _mm256_packus_epi32((__m256i)a.lo, (__m256i)a.hi);
  _mm256_storeu_si256((__m256i*)p, _mm256_permute4x64_epi64(mixed, 0xd8));
}
#else
[[gnu::always_inline]] inline Words load_halves(const uint16_t* p) {
  const auto four = [p](int at) {
    Halves4 r;
    __builtin_memcpy(&r, p + at, sizeof r);
    return __builtin_convertvector(r, Words4);
  };
  return {{four(0), four(4)}, {four(8), four(12)}};
}
[[gnu::always_inline]] inline void store_halves(uint16_t* p, Words a) {
  const auto four = [p](int at, Words4 part) {
    const auto halves = __builtin_convertvector(part, Halves4);
    __builtin_memcpy(p + at, &halves, sizeof halves);
  };
  four(0, a.lo.lo);
  four(4, a.lo.hi);
  four(8, a.hi.lo);
  four(12, a.hi.hi);
}
#endif

[[gnu::always_inline]] inline Words splat(uint32_t x) {
  return Recast<Words, Ints>::of(splat(static_cast<int32_t>(x)));
}

/// a > b ? a : b and a < b ? a : b, so b where a or b is NaN.
#if defined(__AVX512F__)
[[gnu::always_inline]] inline Floats larger(Floats a, Floats b) {
  return (Floats)_mm512_maskz_max_ps(0xffff, (__m512)a, (__m512)b);
}
[[gnu::always_inline]] inline Floats smaller(Floats a, Floats b) {
  return (Floats)_mm512_maskz_min_ps(0xffff, (__m512)a, (__m512)b);
}
#else
[[gnu::always_inline]] inline Floats larger(Floats a, Floats b) { return select(b < a, a, b); }
[[gnu::always_inline]] inline Floats smaller(Floats a, Floats b) { return select(a < b, a, b); }
#endif
/// x held to [low, high]; NaN where x is NaN.
[[gnu::always_inline]] inline Floats clamp(float low, Floats x, float high) {
  return larger(splat(low), smaller(splat(high), x));
}
[[gnu::always_inline]] inline Floats absolute(Floats a) {
  return from_bits(bits(a) & splat(int32_t{0x7fffffff}));
}
/// The sign bits of `sign` on the absolute value `a` >= 0.
[[gnu::always_inline]] inline Floats with_sign(Floats a, Floats sign) {
  return from_bits(bits(a) | (bits(sign) & splat(INT32_MIN)));
}
/// The bits of a as bf16, rounded to nearest even in integers: denormals and NaN stay what they
/// are.
[[gnu::always_inline]] inline Words bf16_bits(Floats a) {
  const Words x = words(a), upper = x >> 16;
  const Words rounded = (x + splat(0x7fffu) + (upper & splat(1u))) >> 16;
  return select(a != a, upper | splat(0x40u), rounded);
}
/// -1 in the lanes below `count`.
[[gnu::always_inline]] inline Ints lanes_below(int64_t count) {
  static constexpr int32_t kIndex[kLanes] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
  return load(kIndex) < splat(static_cast<int32_t>(count));
}

/// op over the lanes by halving: lane i with lane i + 8, then i + 4, i + 2, i + 1.
template <class Op>
[[gnu::always_inline]] inline float fold(Floats4 a, Op op) {
  a = op(a, __builtin_shufflevector(a, a, 2, 3, 2, 3));
  a = op(a, __builtin_shufflevector(a, a, 1, 1, 1, 1));
  return a[0];
}
#if defined(__AVX2__)
template <class Op>
[[gnu::always_inline]] inline float fold(Floats8 a, Op op) {
  return fold(
      op(__builtin_shufflevector(a, a, 0, 1, 2, 3), __builtin_shufflevector(a, a, 4, 5, 6, 7)), op);
}
#endif
#if defined(__AVX512F__)
template <class Op>
[[gnu::always_inline]] inline float fold(Floats a, Op op) {
  return fold(op(__builtin_shufflevector(a, a, 0, 1, 2, 3, 4, 5, 6, 7),
                 __builtin_shufflevector(a, a, 8, 9, 10, 11, 12, 13, 14, 15)),
              op);
}
#endif
template <class H, class Op>
[[gnu::always_inline]] inline float fold(Pair<H> a, Op op) {
  return fold(op(a.lo, a.hi), op);
}
[[gnu::always_inline]] inline float fold_sum(Floats a) {
  return fold(a, [](auto x, auto y) { return x + y; });
}
[[gnu::always_inline]] inline float fold_max(Floats a) {
  return fold(a, [](auto x, auto y) { return select(y < x, x, y); });
}

/// Calls body(i, count) for the vectors of a span of n: count is 16, at the end perhaps less.
template <class Body>
[[gnu::always_inline]] inline void for_vectors(int64_t n, Body body) {
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) body(i, kLanes);
  if (i < n) body(i, n - i);
}
[[gnu::always_inline]] inline Floats load_up_to(const float* p, int64_t count) {
  return count == kLanes ? load(p) : load_part(p, count);
}
[[gnu::always_inline]] inline void store_up_to(float* p, Floats a, int64_t count) {
  if (count == kLanes) {
    store(p, a);
  } else {
    store_part(p, a, count);
  }
}
/// The same of bf16: widened, and rounded.
[[gnu::always_inline]] inline Floats load_up_to(const uint16_t* p, int64_t count) {
  uint16_t lanes[kLanes] = {};
  if (count < kLanes) {
    __builtin_memcpy(lanes, p, sizeof(uint16_t) * static_cast<size_t>(count));
    p = lanes;
  }
  return from_bits(load_halves(p) << 16);
}
[[gnu::always_inline]] inline void store_up_to(uint16_t* p, Floats a, int64_t count) {
  uint16_t lanes[kLanes];
  store_halves(count == kLanes ? p : lanes, bf16_bits(a));
  if (count < kLanes) __builtin_memcpy(p, lanes, sizeof(uint16_t) * static_cast<size_t>(count));
}

/// The sum of value(i, count) over the vectors of a span, where value gives 0 in lanes from count
/// on: vector v goes to accumulator v mod 4, and ((0 + 1) + (2 + 3)) is folded.
template <class Value>
[[gnu::always_inline]] inline float sum_vectors(int64_t n, Value value) {
  Floats sum0 = splat(0.0f), sum1 = sum0, sum2 = sum0, sum3 = sum0;
  int64_t i = 0;
  for (; i + 4 * kLanes <= n; i += 4 * kLanes) {
    sum0 = sum0 + value(i, kLanes);
    sum1 = sum1 + value(i + kLanes, kLanes);
    sum2 = sum2 + value(i + 2 * kLanes, kLanes);
    sum3 = sum3 + value(i + 3 * kLanes, kLanes);
  }
  if (i + kLanes <= n) {
    sum0 = sum0 + value(i, kLanes);
    i += kLanes;
  }
  if (i + kLanes <= n) {
    sum1 = sum1 + value(i, kLanes);
    i += kLanes;
  }
  if (i + kLanes <= n) {
    sum2 = sum2 + value(i, kLanes);
    i += kLanes;
  }
  if (i < n) sum3 = sum3 + value(i, n - i);
  return fold_sum((sum0 + sum1) + (sum2 + sum3));
}

}  // namespace levanter::cpu::LEVANTER_ISA

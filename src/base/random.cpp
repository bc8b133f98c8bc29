// Threefry-2x32 and what is made of its bits; the loops are plain and the compiler vectorises them.
#include "base/random.h"

#include "base/error.h"
#include "base/hash.h"
#include "base/processor.h"

// Vectorise the loops, and round products before sums, so that the three instruction sets for which
// the fills are compiled give the same bits. (The normals need -fno-math-errno too, for their root,
// which GCC takes from the command line only.)
#pragma GCC optimize("O3", "fp-contract=off", "no-trapping-math")

namespace levanter {
namespace {

struct Words {
  uint32_t x0, x1;
};

[[gnu::always_inline]] inline void mix_round(Words& w, int rotation) {
  w.x0 += w.x1;
  w.x1 = (w.x1 << rotation) | (w.x1 >> (32 - rotation));
  w.x1 ^= w.x0;
}

[[gnu::always_inline]] inline void mix_rounds(Words& w, int a, int b, int c, int d) {
  mix_round(w, a);
  mix_round(w, b);
  mix_round(w, c);
  mix_round(w, d);
}

[[gnu::always_inline]] inline Words threefry(Key key, uint32_t x0, uint32_t x1) {
  const uint32_t k0 = key.hi, k1 = key.lo, k2 = key.hi ^ key.lo ^ 0x1BD11BDAu;
  Words w{x0 + k0, x1 + k1};
  mix_rounds(w, 13, 15, 26, 6);
  w.x0 += k1;
  w.x1 += k2 + 1;
  mix_rounds(w, 17, 29, 16, 24);
  w.x0 += k2;
  w.x1 += k0 + 2;
  mix_rounds(w, 13, 15, 26, 6);
  w.x0 += k0;
  w.x1 += k1 + 3;
  mix_rounds(w, 17, 29, 16, 24);
  w.x0 += k1;
  w.x1 += k2 + 4;
  mix_rounds(w, 13, 15, 26, 6);
  w.x0 += k2;
  w.x1 += k0 + 5;
  return w;
}

[[gnu::always_inline]] inline uint32_t bits_at(Key key, uint64_t index) {
  const Words w = threefry(key, static_cast<uint32_t>(index >> 32), static_cast<uint32_t>(index));
  return w.x0 ^ w.x1;
}

[[gnu::always_inline]] inline float to_uniform(uint32_t bits) {
  return __builtin_bit_cast(float, (bits >> 9) | 0x3F800000u) - 1.0f;
}

// u * (hi - lo) + lo rounded once: the product of two floats is exact as a double.
[[gnu::always_inline]] inline float to_range(float u, float lo, float hi) {
  const double value = static_cast<double>(u) * static_cast<double>(hi - lo) + lo;
  const float rounded = static_cast<float>(value);
  return rounded < lo ? lo : rounded;
}

// -log(t) for t in (0, 1], absolute error below 1e-10: t = m 2^e with m in [2/3, 4/3), and
// log m = 2 artanh(s), s = (m - 1) / (m + 1), |s| <= 1/5.
[[gnu::always_inline]] inline double minus_log(float t) {
  const uint32_t bits = __builtin_bit_cast(uint32_t, t) - 0x3F2AAAABu;  // 0x3F2AAAAB is 2/3
  const int32_t exponent = static_cast<int32_t>(bits) >> 23;
  const float m = __builtin_bit_cast(float, (bits & 0x007FFFFFu) + 0x3F2AAAABu);
  const double s = (static_cast<double>(m) - 1) / (static_cast<double>(m) + 1);
  const double s2 = s * s;
  double series = 1.0 / 13;
  series = series * s2 + 1.0 / 11;
  series = series * s2 + 1.0 / 9;
  series = series * s2 + 1.0 / 7;
  series = series * s2 + 1.0 / 5;
  series = series * s2 + 1.0 / 3;
  series = series * s2 + 1.0;
  return -(2 * s * series + exponent * 0.69314718055994530942);
}

// Giles' polynomials: in w - 2.5 for w < 5, in sqrt(w) - 3 beyond; highest power first.
constexpr float kCentral[9] = {2.81022636e-08f,  3.43273939e-07f, -3.5233877e-06f,
                               -4.39150654e-06f, 0.00021858087f,  -0.00125372503f,
                               -0.00417768164f,  0.246640727f,    1.50140941f};
constexpr float kTail[9] = {-0.000200214257f, 0.000100950558f, 0.00134934322f,
                            -0.00367342844f,  0.00573950773f,  -0.0076224613f,
                            0.00943887047f,   1.00167406f,     2.83297682f};
[[gnu::always_inline]] inline float polynomial(const float (&c)[9], float x) {
  const float p = ((c[0] * x + c[1]) * x + c[2]) * x + c[3];
  return ((((p * x + c[4]) * x + c[5]) * x + c[6]) * x + c[7]) * x + c[8];
}

constexpr float kSqrt2 = 1.41421356f;
constexpr float kAboveMinusOne = -0.99999994f;

[[gnu::always_inline]] inline float to_normal(uint32_t bits) {
  const float unit = to_uniform(bits) * 2.0f + kAboveMinusOne;
  const float u = unit < kAboveMinusOne ? kAboveMinusOne : unit;
  // The square rounded to a float, as XLA does: near 1 the result hangs on that rounding.
  const float square = u * u;
  const float w = static_cast<float>(minus_log(1.0f - square));
  const float middle = polynomial(kCentral, w - 2.5f);
  const float tail = polynomial(kTail, __builtin_sqrtf(w) - 3.0f);
  const float p = w < 5.0f ? middle : tail;
  return kSqrt2 * (p * u);
}

// One loop for each instruction set; the widest that the processor has is taken when called.
[[gnu::always_inline]] inline void loop(std::span<float> out, Key key, uint64_t first) {
  float* values = out.data();
  const size_t count = out.size();
  for (size_t i = 0; i < count; ++i) values[i] = to_normal(bits_at(key, first + i));
}
#if defined(__x86_64__)
[[gnu::target("avx512f,avx512dq")]] void loop_avx512(std::span<float> out, Key key,
                                                     uint64_t first) {
  loop(out, key, first);
}
[[gnu::target("avx2")]] void loop_avx2(std::span<float> out, Key key, uint64_t first) {
  loop(out, key, first);
}
#endif

}  // namespace

Key key_from_seed(uint64_t seed) {
  return {static_cast<uint32_t>(seed >> 32), static_cast<uint32_t>(seed)};
}

std::array<uint32_t, 2> threefry2x32(Key key, uint32_t x0, uint32_t x1) {
  const Words w = threefry(key, x0, x1);
  return {w.x0, w.x1};
}

Key fold_in(Key key, uint32_t data) {
  const Words w = threefry(key, 0, data);
  return {w.x0, w.x1};
}

Key fold_in(Key key, std::string_view path) {
  const uint64_t hash = xxh3_64(path);
  return fold_in(fold_in(key, static_cast<uint32_t>(hash >> 32)), static_cast<uint32_t>(hash));
}

uint32_t random_bits(Key key, uint64_t index) { return bits_at(key, index); }

uint64_t random_below(Key key, uint64_t index, uint64_t bound) {
  LEV_CHECK(bound >= 1, "random_below needs a bound of at least 1");
  const Words w = threefry(key, static_cast<uint32_t>(index >> 32), static_cast<uint32_t>(index));
  __extension__ using Wide = unsigned __int128;
  return static_cast<uint64_t>(((static_cast<Wide>(w.x0) << 32 | w.x1) * bound) >> 64);
}

float uniform_from_bits(uint32_t bits) { return to_uniform(bits); }

float uniform(Key key, uint64_t index, float lo, float hi) {
  return to_range(to_uniform(bits_at(key, index)), lo, hi);
}

float normal_from_bits(uint32_t bits) { return to_normal(bits); }

float normal(Key key, uint64_t index) { return to_normal(bits_at(key, index)); }

void fill_normal(Key key, uint64_t first, std::span<float> out) {
#if defined(__x86_64__)
  if (processor().avx512) return loop_avx512(out, key, first);
  if (processor().avx2) return loop_avx2(out, key, first);
#endif
  loop(out, key, first);
}

}  // namespace levanter

// exp, log, tanh, sigmoid and erf with the formulas and the bits of kernels/cpu/vector_math.h;
// log1p, pow, sin and cos by way of f64. All return NaN for NaN.
#pragma once

#include "kernels/cuda/device/device.cuh"

namespace levanter::cuda::kernels {

inline float infinity() { return float_of(0x7f800000u); }
inline float not_a_number() { return float_of(0x7fc00000u); }
inline float absolute(float x) { return float_of(bits_of(x) & 0x7fffffffu); }
inline float with_sign(float magnitude, float sign) {
  return float_of(bits_of(magnitude) | (bits_of(sign) & 0x80000000u));
}
inline float clamp(float low, float x, float high) {
  const float below = high < x ? high : x;
  return below < low ? low : below;
}

/// c[0] + c[1] x + ... by Horner's rule.
template <class Real, int kCount>
inline Real polynomial(const Real (&c)[kCount], Real x) {
  Real y = c[kCount - 1];
  for (int i = kCount - 2; i >= 0; --i) y = y * x + c[i];
  return y;
}

/// x = n ln 2 + r with a whole n and |r| <= 0.3466, for |x| <= 120.
struct Reduced {
  int32_t n;
  float r;
};
inline Reduced reduce_exponent(float x) {
  const float magic = 12582912.0f;  // 1.5 * 2^23: adding it rounds to a whole number
  const float shifted = x * 1.4426950216293335f + magic;
  const float n = shifted - magic;
  return {int32_t(bits_of(shifted)) - int32_t(bits_of(magic)),
          (x - n * 0.693145751953125f) - n * 1.428606765330187e-06f};
}

/// 2^n for whole n in [-126, 127]; infinity for 128.
inline float power_of_two(int32_t n) { return float_of(uint32_t(n + 127) << 23); }

/// e^r for |r| <= 0.3466
inline float exp_reduced(float r) {
  const float c[] = {0.4999999403953552f, 0.1666651964187622f, 0.041668400168418884f,
                     0.00836885068565607f, 0.0013814320554956794f};
  return r * r * polynomial(c, r) + r + 1.0f;
}

/// e^x: infinity above 88.72, denormal below -87.33, 0 below -103.97.
inline float exp_real(float x) {
  if (x != x) return x;
  const Reduced a = reduce_exponent(clamp(-105.0f, x, 89.0f));
  const int32_t half = a.n >> 1;
  return exp_reduced(a.r) * power_of_two(half) * power_of_two(a.n - half);
}

/// e^x in a step less, for what 1 is added to: infinity above 88.38, 1.2e-38 below -87.3.
inline float exp_beside_one(float x) {
  if (x != x) return x;
  const Reduced a = reduce_exponent(clamp(-87.3f, x, 89.0f));
  return exp_reduced(a.r) * power_of_two(a.n);
}

/// Natural logarithm: -infinity at 0, NaN below.
inline float log_real(float x) {
  const float c[] = {0.3333331048488617f,   -0.24999986588954926f, 0.20002247393131256f,
                     -0.16669248044490814f, 0.14218182861804962f,  -0.12384121865034103f,
                     0.11876585334539413f,  -0.11792685836553574f, 0.06910182535648346f};
  if (!(0.0f <= x)) return not_a_number();
  if (x == 0.0f) return -infinity();
  if (x == infinity()) return x;
  const bool denormal = x < 1.17549435e-38f;
  const uint32_t word = bits_of(denormal ? x * 8388608.0f : x);
  // The exponent that leaves a mantissa in [sqrt(1/2), sqrt(2)): 0x3f3504f3 is sqrt(1/2).
  const int32_t exponent = int32_t(word - 0x3f3504f3u) >> 23;
  const float f = float_of(word - (uint32_t(exponent) << 23)) - 1.0f;
  const float e = float(exponent) - (denormal ? 23.0f : 0.0f);
  const float square = f * f;
  const float tail = square * f * polynomial(c, f) + e * 1.428606765330187e-06f - square * 0.5f;
  return (tail + f) + e * 0.693145751953125f;
}

/// a / b with the bits of the division from r, 1 / b to an ulp: r is made exact to half an ulp, and
/// so is the quotient (Markstein 1990, IBM J. Res. Dev. 34). For a >= 0 and numbers far from the
/// largest and the smallest.
inline float divide_from(float a, float b, float r) {
  r = fmaf(r, fmaf(-b, r, 1.0f), r);
  float q = a * r;
  q = fmaf(r, fmaf(-b, q, a), q);
  return fmaf(r, fmaf(-b, q, a), q);
}
/// The same without the branch that a division has for all other numbers, which keeps neighbours
/// from running side by side.
inline float divide_usual(float a, float b) {
#ifdef __CUDACC_RTC__
  float r;
  asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(r) : "f"(b));
  return divide_from(a, b, r);
#else
  return a / b;
#endif
}

/// Hyperbolic tangent as u / (u + 2) with u = e^(2|x|) - 1, free of cancellation.
template <class Divide>
inline float tanh_by(float x, Divide divide) {
  const float c[] = {0.5f,
                     0.1666666716337204f,
                     0.04166635125875473f,
                     0.00833327230066061f,
                     0.0013941206270828843f,
                     0.00019914393487852067f};
  if (x != x) return x;
  const float magnitude = absolute(x);
  const Reduced a = reduce_exponent((9.1f < magnitude ? 9.1f : magnitude) * 2.0f);
  const float scale = power_of_two(a.n);
  const float p = a.r * a.r * polynomial(c, a.r) + a.r;
  const float u = scale * p + (scale - 1.0f);
  return with_sign(divide(u, u + 2.0f), x);
}
inline float tanh_real(float x) { return tanh_by(x, divide_usual); }
/// The same where neighbours that run side by side would take too many registers.
inline float tanh_apart(float x) {
  return tanh_by(x, [](float a, float b) { return a / b; });
}

inline float sigmoid_real(float x) { return 1.0f / (1.0f + exp_beside_one(0.0f - x)); }

/// e^x for x <= 0, 0 below -87.3.
inline float exp_negative(float x) {
  if (x < -87.3f) return 0.0f;
  const Reduced a = reduce_exponent(x);
  return exp_reduced(a.r) * power_of_two(a.n);
}

/// 2^x to some 2^-21 of it, 0 where that is a denormal: the card's own approximation, for attention
/// of bf16 alone.
inline float exp2_near(float x) {
#ifdef __CUDACC_RTC__
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
#else
  return exp_real(x * 0.6931471805599453f);
#endif
}

/// Error function: x + x P(x^2) up to 1, then 1 - e^Q(|x|).
inline float erf_real(float x) {
  const float small[] = {0.12837916612625122f,  -0.376126229763031f,   0.11283565312623978f,
                         -0.02685287594795227f, 0.005186375230550766f, -0.000799153873231262f,
                         7.787416689097881e-05f};
  const float large[] = {0.0001884640078060329f,  -1.1295802593231201f,    -0.6332164406776428f,
                         -0.10842207074165344f,   0.025210320949554443f,   -0.004205278120934963f,
                         0.00044147134758532047f, -2.1697509509976953e-05f};
  if (x != x) return x;
  const float magnitude = absolute(x);
  if (1.0f < magnitude)
    return with_sign(1.0f - exp_negative(polynomial(large, 4.0f < magnitude ? 4.0f : magnitude)),
                     x);
  return with_sign(magnitude + magnitude * polynomial(small, magnitude * magnitude), x);
}

/// ln x for a finite x > 0 that is no denormal of f64, to about 1e-15.
///   x = m 2^e, m in [sqrt(1/2), sqrt(2)); ln m = 2 artanh(s), s = (m - 1) / (m + 1)
inline double log_wide(double x) {
  const uint64_t word = uint64_t(__double_as_longlong(x));
  const int64_t exponent = int64_t(word - 0x3fe6a09e667f3bcdull) >> 52;
  const double m = __longlong_as_double(int64_t(word - (uint64_t(exponent) << 52)));
  const double s = (m - 1.0) / (m + 1.0);
  const double c[] = {2.0,      2.0 / 3,  2.0 / 5,  2.0 / 7,  2.0 / 9, 2.0 / 11,
                      2.0 / 13, 2.0 / 15, 2.0 / 17, 2.0 / 19, 2.0 / 21};
  return double(exponent) * 0.6931471805599453 + s * polynomial(c, s * s);
}

/// e^x, to about 1e-15: 0 below -200, infinity of f32 above 200.
inline double exp_wide(double x) {
  const double y = x < -200.0 ? -200.0 : (200.0 < x ? 200.0 : x);
  const double magic = 6755399441055744.0;  // 1.5 * 2^52
  const double shifted = y * 1.4426950408889634 + magic;
  const double n = shifted - magic;
  const double r = fma(-n, 1.9082149292705877e-10, fma(-n, 0.6931471803691238, y));
  const double c[] = {1.0,
                      1.0,
                      1.0 / 2,
                      1.0 / 6,
                      1.0 / 24,
                      1.0 / 120,
                      1.0 / 720,
                      1.0 / 5040,
                      1.0 / 40320,
                      1.0 / 362880,
                      1.0 / 3628800,
                      1.0 / 39916800,
                      1.0 / 479001600,
                      1.0 / 6227020800};
  return polynomial(c, r) * __longlong_as_double((int64_t(n) + 1023) << 52);
}

/// ln(1 + x)
inline float log1p_real(float x) {
  const double wide = x;
  if (!(-1.0f <= x)) return not_a_number();
  if (x == -1.0f) return -infinity();
  if (x == infinity()) return x;
  if (absolute(x) < 1e-6f) return float(wide - wide * wide * 0.5);
  return float(log_wide(1.0 + wide));
}

/// |x|^y for x neither 0 nor infinite.
inline float power_of_magnitude(float magnitude, float y) {
  if (absolute(y) != infinity()) return float(exp_wide(double(y) * log_wide(magnitude)));
  if (magnitude == 1.0f) return 1.0f;
  return (1.0f < magnitude) == (0.0f < y) ? infinity() : 0.0f;
}

/// x^y with the special values of C's pow.
inline float pow_real(float x, float y) {
  if (y == 0.0f || x == 1.0f) return 1.0f;
  if (x != x || y != y) return not_a_number();
  const float magnitude = absolute(x);
  const bool small = absolute(y) < 16777216.0f;  // any larger number is even
  const bool whole = !small || float(int32_t(y)) == y;
  const bool odd = small && whole && (int32_t(y) & 1) != 0;
  float power = 0;
  if (magnitude == 0.0f || magnitude == infinity())
    power = (magnitude == 0.0f) == (0.0f < y) ? 0.0f : infinity();
  else if (x < 0.0f && !whole)
    return not_a_number();
  else
    power = power_of_magnitude(magnitude, y);
  return odd ? with_sign(power, x) : power;
}

/// sin(x + quarter pi / 2) to half an ulp and a little, for |x| <= 2^30; NaN beyond.
inline float sin_of(float x, int quarter) {
  if (!(absolute(x) <= 1073741824.0f)) return not_a_number();
  const double wide = x, magic = 6755399441055744.0;
  const double n = (wide * 0.6366197723675814 + magic) - magic;
  const double r = fma(-n, 6.123233995736766e-17, fma(-n, 1.5707963267948966, wide));
  const double square = r * r;
  const int turn = int(int64_t(n) + quarter) & 3;
  const double s[] = {1.0,          -1.0 / 6,        1.0 / 120,       -1.0 / 5040,
                      1.0 / 362880, -1.0 / 39916800, 1.0 / 6227020800};
  const double c[] = {1.0,         -1.0 / 2,       1.0 / 24,        -1.0 / 720,
                      1.0 / 40320, -1.0 / 3628800, 1.0 / 479001600, -1.0 / 87178291200};
  const double y = (turn & 1) != 0 ? polynomial(c, square) : r * polynomial(s, square);
  return float((turn & 2) != 0 ? -y : y);
}

}  // namespace levanter::cuda::kernels

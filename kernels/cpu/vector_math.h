// exp, log, tanh, sigmoid, erf and gelu on sixteen lanes; for the vector_*.cpp only.
//
// The polynomials are minimax fits (Remez exchange in 200-bit arithmetic) rounded to f32 and
// evaluated by Horner's rule with separate multiplications and additions. All return NaN for NaN.
#pragma once

#include "kernels/cpu/vector_isa.h"

namespace levanter::cpu::LEVANTER_ISA {

/// c[0] + c[1] x + ... by Horner's rule.
template <int kCount>
[[gnu::always_inline]] inline Floats polynomial(const float (&c)[kCount], Floats x) {
  Floats y = splat(c[kCount - 1]);
#pragma GCC unroll 16
  for (int i = kCount - 2; i >= 0; --i) y = y * x + splat(c[i]);
  return y;
}

/// x = n ln 2 + r with a whole n and |r| <= 0.3466, for |x| <= 120.
struct Reduced {
  Ints n;
  Floats r;
};
[[gnu::always_inline]] inline Reduced reduce(Floats x) {
  constexpr float kLog2e = 1.4426950216293335f;
  constexpr float kLn2High = 0.693145751953125f, kLn2Low = 1.428606765330187e-06f;  // 15 bits; rest
  const Floats magic = splat(12582912.0f);  // 1.5 * 2^23: adding it rounds to a whole number
  const Floats shifted = x * splat(kLog2e) + magic;
  const Floats n = shifted - magic;
  return {bits(shifted) - bits(magic), (x - n * splat(kLn2High)) - n * splat(kLn2Low)};
}

/// 2^n for whole n in [-126, 127]; infinity for 128.
[[gnu::always_inline]] inline Floats power_of_two(Ints n) {
  return from_bits((n + splat(int32_t{127})) << 23);
}

/// e^r for |r| <= 0.3466
[[gnu::always_inline]] inline Floats exp_reduced(Floats r) {
  constexpr float kP[] = {0.4999999403953552f, 0.1666651964187622f, 0.041668400168418884f,
                          0.00836885068565607f, 0.0013814320554956794f};
  return r * r * polynomial(kP, r) + r + splat(1.0f);
}

/// e^x: infinity above 88.72, denormal below -87.33, 0 below -103.97.
[[gnu::always_inline]] inline Floats exp(Floats x) {
  const Reduced a = reduce(clamp(-105.0f, x, 89.0f));
  const Ints half = a.n >> 1;
  return exp_reduced(a.r) * power_of_two(half) * power_of_two(a.n - half);
}

/// e^x in a step less, for what 1 is added to: infinity above 88.38, 1.2e-38 below -87.3.
[[gnu::always_inline]] inline Floats exp_beside_one(Floats x) {
  const Reduced a = reduce(clamp(-87.3f, x, 89.0f));
  return exp_reduced(a.r) * power_of_two(a.n);
}

/// e^x for x <= 0, 0 below -87.3: for softmax.
[[gnu::always_inline]] inline Floats exp_negative(Floats x) {
  const Reduced a = reduce(larger(splat(-87.3f), x));
  return select(x < splat(-87.3f), splat(0.0f), exp_reduced(a.r) * power_of_two(a.n));
}

/// Natural logarithm: -infinity at 0, NaN below.
[[gnu::always_inline]] inline Floats log(Floats x) {
  constexpr float kP[] = {0.3333331048488617f,   -0.24999986588954926f, 0.20002247393131256f,
                          -0.16669248044490814f, 0.14218182861804962f,  -0.12384121865034103f,
                          0.11876585334539413f,  -0.11792685836553574f, 0.06910182535648346f};
  constexpr float kLn2High = 0.693145751953125f, kLn2Low = 1.428606765330187e-06f;
  const Ints denormal = x < splat(1.17549435e-38f);
  const Ints word = bits(absolute(select(denormal, x * splat(8388608.0f), x)));
  // The exponent that leaves a mantissa in [sqrt(1/2), sqrt(2)): 0x3f3504f3 is sqrt(1/2).
  const Ints exponent = (word - splat(int32_t{0x3f3504f3})) >> 23;
  const Floats f = from_bits(word - (exponent << 23)) - splat(1.0f);
  const Floats e = to_floats(exponent) - select(denormal, splat(23.0f), splat(0.0f));
  const Floats square = f * f;
  const Floats tail = square * f * polynomial(kP, f) + e * splat(kLn2Low) - square * splat(0.5f);
  Floats y = (tail + f) + e * splat(kLn2High);
  const Floats infinity = splat(__builtin_inff());
  y = select(x == infinity, infinity, y);
  y = select(x == splat(0.0f), splat(-__builtin_inff()), y);
  return select(splat(0.0f) <= x, y, splat(__builtin_nanf("")));
}

/// Hyperbolic tangent as u / (u + 2) with u = e^(2|x|) - 1, free of cancellation.
[[gnu::always_inline]] inline Floats tanh(Floats x) {
  constexpr float kP[] = {0.5f,
                          0.1666666716337204f,
                          0.04166635125875473f,
                          0.00833327230066061f,
                          0.0013941206270828843f,
                          0.00019914393487852067f};
  const Floats magnitude = absolute(x);
  const Floats doubled = smaller(splat(9.1f), magnitude) * splat(2.0f);
  const Reduced a = reduce(doubled);
  const Floats scale = power_of_two(a.n);
  const Floats p = a.r * a.r * polynomial(kP, a.r) + a.r;
  const Floats u = scale * p + (scale - splat(1.0f));
  return with_sign(u / (u + splat(2.0f)), x);
}

[[gnu::always_inline]] inline Floats sigmoid(Floats x) {
  return splat(1.0f) / (splat(1.0f) + exp_beside_one(splat(0.0f) - x));
}

/// Error function: x + x P(x^2) up to 1, then 1 - e^Q(|x|).
[[gnu::always_inline]] inline Floats erf(Floats x) {
  constexpr float kP[] = {0.12837916612625122f,  -0.376126229763031f,   0.11283565312623978f,
                          -0.02685287594795227f, 0.005186375230550766f, -0.000799153873231262f,
                          7.787416689097881e-05f};
  constexpr float kQ[] = {0.0001884640078060329f,  -1.1295802593231201f,    -0.6332164406776428f,
                          -0.10842207074165344f,   0.025210320949554443f,   -0.004205278120934963f,
                          0.00044147134758532047f, -2.1697509509976953e-05f};
  const Floats magnitude = absolute(x);
  const Floats small = magnitude + magnitude * polynomial(kP, magnitude * magnitude);
  const Floats clamped = smaller(splat(4.0f), magnitude);
  const Floats large = splat(1.0f) - exp_negative(polynomial(kQ, clamped));
  return with_sign(select(splat(1.0f) < magnitude, large, small), x);
}

// Of gelu_tanh: -2u = x (kFirst + kThird x^2), u = sqrt(2 / pi) (x + 0.044715 x^3).
inline constexpr float kFirst = -1.5957691669464111f, kThird = -0.07135481387376785f;

/// 0.5 x (1 + tanh(u)), computed as x / (1 + e^-2u).
[[gnu::always_inline]] inline Floats gelu_tanh(Floats x) {
  const Floats exponent = x * (splat(kFirst) + splat(kThird) * (x * x));
  return x / (splat(1.0f) + exp_beside_one(exponent));
}

/// d gelu_tanh(x) / dx, which beyond 10 is 0 or 1.
[[gnu::always_inline]] inline Floats gelu_tanh_slope(Floats x) {
  x = clamp(-10.0f, x, 10.0f);
  const Floats square = x * x;
  const Floats exponent = x * (splat(kFirst) + splat(kThird) * square);
  const Reduced a = reduce(exponent);  // within 87.3
  const Floats s = splat(1.0f) / (splat(1.0f) + exp_reduced(a.r) * power_of_two(a.n));
  const Floats slope = splat(kFirst) + splat(3 * kThird) * square;
  return s - x * (s * (splat(1.0f) - s)) * slope;
}

/// 0.5 x (1 + erf(x / sqrt(2)))
[[gnu::always_inline]] inline Floats gelu_erf(Floats x) {
  return splat(0.5f) * x * (splat(1.0f) + erf(x * splat(0.7071067690849304f)));
}

/// d gelu_erf(x) / dx
[[gnu::always_inline]] inline Floats gelu_erf_slope(Floats x) {
  const Floats below = splat(0.5f) * (splat(1.0f) + erf(x * splat(0.7071067690849304f)));
  const Floats density = splat(0.3989422917366028f) * exp(splat(-0.5f) * x * x);
  return below + x * density;
}

}  // namespace levanter::cpu::LEVANTER_ISA

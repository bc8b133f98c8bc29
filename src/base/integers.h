// Whole numbers: division and rounding upwards.
#pragma once

#include <type_traits>

namespace levanter {

/// The least whole number that is at least a / b; a >= 0, b > 0.
template <class Integer>
constexpr Integer ceil_div(Integer a, std::type_identity_t<Integer> b) {
  return (a + b - 1) / b;
}

/// The least multiple of `step` that is at least `n`; n >= 0, step > 0.
template <class Integer>
constexpr Integer round_up(Integer n, std::type_identity_t<Integer> step) {
  return ceil_div(n, step) * step;
}

}  // namespace levanter

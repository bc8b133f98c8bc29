// Comparing functions on the emulated card with the reference backend.
#pragma once

#include "cuda/fake_cuda.h"
#include "support/cpu_agreement.h"

namespace levanter::testing {

// Errors relative to a result's largest element.
constexpr double kF32Tolerance = 4e-6;   // sums of some hundred elements
constexpr double kBf16Tolerance = 8e-3;  // one rounding to 8 bits

/// The inputs as bf16 where they are floating.
std::vector<Array> narrowed(std::vector<Array> inputs);

/// The error of `build` on the emulated card; INFINITY where the order of its threads changes a
/// bit.
double card_error(const Build& build, const std::vector<Array>& inputs);

/// The largest error over all layouts.
double worst_card_error(const std::vector<OperandSpec>& operands, const Build& build,
                        bool bf16 = false);

}  // namespace levanter::testing

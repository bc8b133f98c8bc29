// Comparing functions on the CPU backend with the decompositions in f64 on the reference backend.
#pragma once

#include <memory>
#include <vector>

#include "support/checks.h"

namespace levanter::testing {

/// Errors are relative to the largest element of a result, at least this.
constexpr double kSmallest = 0.05;

/// How an operand lies in the array that is passed in.
enum class Layout { kPlain, kReversed, kCutFirst, kCutLast };
constexpr Layout kLayouts[] = {Layout::kPlain, Layout::kReversed, Layout::kCutFirst,
                               Layout::kCutLast};

enum class Kind { kReal, kPositive, kIds, kKeys };
/// An operand to make up.
struct OperandSpec {
  Axes axes;
  Kind kind = Kind::kReal;
  int64_t bound = 2;  ///< of ids
};

/// The array of which the operand is a view in this layout.
Array make_array(const OperandSpec& spec, Layout layout, uint32_t seed);

/// `build` over the operands as views of arrays that make_array made.
Build in_layout(const Build& build, const std::vector<OperandSpec>& operands, Layout layout);

/// One backend of each number of threads that must not matter.
struct Backends {
  std::unique_ptr<Backend> one = make_backend("cpu", 1), two = make_backend("cpu", 2),
                           five = make_backend("cpu", 5);
};

/// The largest error of `build` on the CPU backend with every operand in one layout; INFINITY when
/// threads change a bit, or when the compiled function has no node of the op `fused` (if not "").
double error_in(const Backends& b, Layout layout, const std::vector<OperandSpec>& operands,
                const Build& build, const char* fused = "");
/// The largest error over all layouts.
double worst_error(const Backends& b, const std::vector<OperandSpec>& operands, const Build& build,
                   const char* fused = "");

/// The outputs of `build` and the gradients of a sum over them in every real operand. The sum's
/// gradient is another number for each element of each output.
Build with_gradients(const Build& build);

}  // namespace levanter::testing

// Short forms that the tests of the graph core share.
#pragma once

#include <string>
#include <vector>

#include "base/error.h"
#include "support/evaluate.h"

namespace levanter::testing {

/// Sums in another order differ by a few roundings of f64; a wrong formula by far more.
constexpr double kRoundingTolerance = 1e-12;

/// f64 values over `axes`, row-major.
Array array(const Axes& axes, std::vector<double> values);
/// i32 values over `axes`, row-major.
Array ids(const Axes& axes, std::vector<double> values);
/// f64 values in [-1, 1).
Array random_real(const Axes& axes, uint32_t seed);
/// f64 values in [0.5, 1.5), for functions with a pole or an end at 0.
Array positive(const Axes& axes, uint32_t seed);
/// Random keys, u32 [rows..., key_word].
Array random_keys(const Axes& rows, uint32_t seed);
/// 1, 2, 3, ... over `axes`, in f64.
Array counting(const Axes& axes);

/// A position along an axis.
struct Index {
  AxisName axis;
  int64_t at = 0;
};
/// The element of `array` at these positions; positions along axes that it lacks are ignored.
double at(const Array& array, const std::vector<Index>& where);
/// The positions of every element of `axes`, row-major.
std::vector<std::vector<Index>> indices(const Axes& axes);
/// Both lists of positions.
std::vector<Index> join(std::vector<Index> a, const std::vector<Index>& b);
/// An f64 array over `axes` whose elements are fn(positions): the plain loop that tests compare
/// with.
template <class Fn>
Array looped(const Axes& axes, Fn&& fn) {
  Array result{{DType::f64, axes}, {}};
  for (const auto& where : indices(axes)) result.values.push_back(fn(where));
  return result;
}

/// The largest difference between the gradients in input `which` of two ways to compute the same,
/// relative to the largest gradient (at least 1).
double rule_difference(const Build& one, const Build& other, const std::vector<Array>& inputs,
                       size_t which);

/// The largest error of `gradient_error` over the inputs of floating type, and the assurance that
/// there was one.
double worst_gradient_error(const Build& build, const std::vector<Array>& inputs);

/// Every bit of every value is the same.
bool same_bits(const std::vector<Array>& a, const std::vector<Array>& b);

/// What the Error that `action` throws prints; "" when it throws none.
template <class Action>
std::string error_of(Action&& action) {
  try {
    action();
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

/// What the Error of tracing `build` prints; "" when there is none.
std::string trace_error(const Build& build, const std::vector<Array>& inputs);

/// The same arguments, nodes and results.
Function duplicate(const Function& function);

/// The number of nodes of the op `name`.
size_t count_nodes(const Function& function, const std::string& name);

}  // namespace levanter::testing

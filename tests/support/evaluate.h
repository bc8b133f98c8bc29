// Runs traced functions on plain numbers, and checks gradients against central differences.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "device/backend.h"
#include "ops/function.h"
#include "ops/ops.h"
#include "runtime/executable.h"

namespace levanter::testing {

/// An array on the host, in double precision whatever its type.
struct Array {
  Type type;
  std::vector<double> values;
};

/// Values in [-1, 1) that depend on `seed` alone; away from 0 by at least `margin`.
Array random_array(const Type& type, uint32_t seed, double margin = 0);
/// Integers in [0, bound).
Array random_ids(const Axes& axes, int64_t bound, uint32_t seed);

/// From the function's inputs to the values asked for.
using Build = std::function<std::vector<NamedArray>(const std::vector<NamedArray>&)>;

/// A backend by name: "reference" or "cpu".
std::unique_ptr<Backend> make_backend(const std::string& name, int threads = 1);

/// The function of `build` over inputs of these types, f32 and f64 ones as `real`; bf16 stays.
Function trace(const Build& build, const std::vector<Array>& inputs, DType real = DType::f64);
/// Compiles a function as it stands and runs it once in poisoned memory: its results, where donated
/// read from the argument's buffer.
std::vector<Array> run(Function function, const std::vector<Array>& inputs, const Backend& backend,
                       const CompileOptions& options = {});

/// Traces `build` over inputs of these types (f32 and f64 ones become `real`), optimises, compiles
/// and runs it.
std::vector<Array> evaluate(const Build& build, const std::vector<Array>& inputs,
                            const Backend& backend, DType real = DType::f64);
/// On the reference backend.
std::vector<Array> evaluate(const Build& build, const std::vector<Array>& inputs,
                            DType real = DType::f64);

/// The sum over outputs of output times fixed weights: a scalar that no gradient slips through.
NamedArray weighted_sum(const std::vector<NamedArray>& outputs);

/// The gradient of the scalar build(inputs)[0] in input `which`, by backprop.
Array gradient(const Build& build, const std::vector<Array>& inputs, size_t which,
               const Backend& backend, DType real = DType::f64);

/// The largest difference between backprop and central differences, in f64 on the reference
/// backend, over all elements of input `which`, relative to the largest gradient (at least 1).
/// The scalar differentiated is the sum of every output times fixed random weights.
double gradient_error(const Build& build, const std::vector<Array>& inputs, size_t which);

/// Central differences in f64 reach about 1e-9; a wrong rule is off by far more.
constexpr double kGradientTolerance = 1e-6;

/// The largest |a - b|, relative to the largest |b| (at least `floor`).
double difference(const Array& a, const Array& b, double floor = 1);

/// The largest difference of the outputs through the backend's own kernels in `real` from those
/// of the decompositions in f64 on the reference backend.
double decomposition_error(const Build& build, const std::vector<Array>& inputs,
                           const Backend& backend, DType real = DType::f32);

}  // namespace levanter::testing

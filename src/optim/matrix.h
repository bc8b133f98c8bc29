// Parameters seen as matrices, and what optimizers compute of those.
#pragma once

#include <string>
#include <vector>

#include "optim/optimizer.h"
#include "ops/ops.h"

namespace levanter::optim {

inline constexpr const char *kRow = "row", *kColumn = "column";

/// Whether a parameter is at least a matrix: its last two axes in files are rows and columns, and
/// those before them, such as one of layers, count matrices.
bool is_matrix(const nn::Param& param);
/// Whether it also multiplies inside the model: neither a table that is looked up nor the head.
bool is_hidden_matrix(const nn::Param& param);

/// An array of the parameter's axes as [stack..., row, column], in the same order in memory; a
/// vector's as [column].
NamedArray to_matrices(NamedArray x, const nn::Param& param);
/// The way back.
NamedArray from_matrices(NamedArray matrices, const nn::Param& param);
/// The axes that to_matrices gives.
Axes matrix_axes(const nn::Param& param);

/// One of the axes of to_matrices that an optimizer keeps a square matrix for, [stack..., other,
/// axis].
struct Side {
  Axis axis;
  AxisName other;    ///< a second index of the same axis
  std::string name;  ///< "row" or "column"
};
/// Of a matrix its rows and columns; of a vector its elements.
std::vector<Side> sides_of(const nn::Param& param);
/// The axes that count a parameter's matrices.
Axes stack_of(const nn::Param& param);
/// State over these axes, in files too.
StateArray state_over(const nn::Param& param, const std::string& name, const Axes& axes,
                      StateArray::Begin begin = StateArray::Begin::kZeros);
/// y[..., other] = sum over axis of a[other, axis] x[..., axis], with y's axis called as x's is.
NamedArray multiply(NamedArray a, NamedArray x, const Side& side);
/// The same with a's transpose.
NamedArray multiply_transposed(NamedArray a, NamedArray x, const Side& side);
/// sum over x's other axes of x[other] x[axis], [stack..., other, axis].
NamedArray gram(NamedArray x, const Side& side, const Axes& stack);

/// Outputs over inputs of a hidden matrix.
double out_over_in(const nn::Param& param);

/// The nearest matrix with orthonormal rows, or columns, of each in `g`, about: singular values
/// come out between 0.7 and 1.2 (Jordan et al. 2024, https://kellerjordan.github.io/posts/muon).
///   x = g / (|g| + epsilon);  `steps` times  a = x x^T,  x = 3.4445 x + (-4.7750 a + 2.0315 a^2) x
/// g  [stack..., row, column]; products are of its own type
NamedArray orthogonalise(NamedArray g, int64_t steps, double epsilon);

}  // namespace levanter::optim

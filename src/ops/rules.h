// Small helpers that gradient rules and decompositions share.
#pragma once

#include "graph/graph.h"

namespace levanter {

/// The scalar 0 of x's type.
NamedArray zero_like(NamedArray x);
/// Undoes a broadcast: the sum of g over the axes that `axes` lacks (g itself if none).
NamedArray sum_to(NamedArray g, const Axes& axes);
/// x in the axis order of `axes`, which are x's own axes (x itself if already so).
NamedArray reorder(NamedArray x, const Axes& axes);

/// x in the type that arithmetic on it is done in: x itself, or bf16 as f32.
NamedArray widen(NamedArray x);

/// The fusion of a node that makes each element of its result from the same element of every
/// operand.
std::optional<Fusion> fuse_elementwise(const Node& node, std::span<const Type> inputs);
/// Whether `last`, which are not none, are the last axes of `axes`.
bool ends_with(const Axes& axes, const Axes& last);

/// What a node carries that takes the axes `row` and `column` of x for a matrix's.
Attributes matrix_attributes(NamedArray x, AxisName row, AxisName column);
/// The columns of such a node's operand, which is of a type that is computed in.
/// error  where it lacks one of the two axes, or they are one
Axis require_matrix(const Attributes& attributes, std::span<const Type> operands);

/// Throws unless the first `count` operands have one floating type.
void require_floats(std::span<const Type> operands, size_t count);
/// The same, and throws when that type is bf16.
void require_wide_floats(std::span<const Type> operands, size_t count);

}  // namespace levanter

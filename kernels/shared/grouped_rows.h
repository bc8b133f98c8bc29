// What the kernels of grouped_dot and of its weights' gradients take.
#pragma once

#include <span>

#include "graph/graph.h"

namespace levanter::kernels {

/// A grouped_dot whose rows are those of the groups, or stand for several of them: they lack the
/// groups' last axes. Weights are matrices of the rows' axes and the others, either first.
bool takes_grouped_dot(const Node& node, std::span<const Type> in);

/// A grouped_outer, likewise.
bool takes_grouped_outer(const Node& node, std::span<const Type> in);

}  // namespace levanter::kernels

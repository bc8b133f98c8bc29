// What the kernels of grouped_dot and of its weights' gradients take.
#include "kernels/shared/grouped_rows.h"

namespace levanter::kernels {

namespace {

/// Whether x's rows are those of the groups, or each stands for several: it lacks their last axes.
bool rows_follow(const Axes& x, const Axes& group, const Axes& row) {
  const Axes rows = without(x, row);
  for (size_t i = 0; i < rows.size(); ++i)
    if (group[i] != rows[i]) return false;
  return x == unite(rows, row);
}

/// Whether the weight is a matrix of `row` and the rest, either first.
bool is_matrix(const Axes& weight, const Axes& row) {
  const Axes rest = without(weight, row);
  return weight == unite(row, rest) || weight == unite(rest, row);
}

}  // namespace

bool takes_grouped_dot(const Node& node, std::span<const Type> in) {
  const Axes row = intersect(in[2].axes, in[0].axes);
  return in[1].elements() > 0 && rows_follow(in[0].axes, in[1].axes, row) &&
         is_matrix(in[2].axes, row) &&
         node.outputs[0].axes == unite(in[1].axes, without(in[2].axes, row));
}

bool takes_grouped_outer(const Node& node, std::span<const Type> in) {
  const Axes& weight = node.attributes.axes;
  const Axes row = intersect(weight, in[0].axes), rest = intersect(weight, in[2].axes);
  return in[1].elements() > 0 && rows_follow(in[0].axes, in[1].axes, row) &&
         rows_follow(in[2].axes, in[1].axes, rest) && is_matrix(weight, row);
}

}  // namespace levanter::kernels

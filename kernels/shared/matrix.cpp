// A product over named axes as batch, m, n and k: what a library of matrix products takes.
#include "kernels/shared/matrix.h"

#include "base/error.h"
#include "kernels/shared/strides.h"

namespace levanter::kernels {

namespace {

Axes concatenated(const Axes& a, const Axes& b, const Axes& c) { return unite(unite(a, b), c); }

/// Finds the strides of a matrix in f.view: both at least 1, one of them 1. An extent of one may
/// have any stride.
bool set_strides(Factor& f, const Axes& rows, const Axes& columns) {
  const auto row = merged_stride(f.view, rows), col = merged_stride(f.view, columns);
  if (!row || !col || *row < 1 || *col < 1) return false;
  f.row = *row;
  f.col = *col;
  if (columns.elements() == 1) {
    f.col = 1;
  } else if (rows.elements() == 1) {
    f.row = *col == 1 ? columns.elements() : 1;
  }
  return f.row == 1 || f.col == 1;
}

/// The input as a matrix of `rows` by `columns`, copied when it does not lie like one.
Factor factor(size_t input, const View& view, const Axes& batch, const Axes& rows,
              const Axes& columns) {
  Factor f;
  f.input = input;
  f.view = view;
  if (set_strides(f, rows, columns)) return f;
  f.copied = true;
  f.view = View::row_major(concatenated(batch, rows, columns));
  LEV_CHECK(set_strides(f, rows, columns), "a row-major copy is a matrix");
  return f;
}

bool rows_first(const View& view, const Axes& m, const Axes& n) {
  const auto columns = merged_stride(view, n), rows = merged_stride(view, m);
  return n.elements() > 1 && columns == 1 && rows;
}

}  // namespace

MatrixProduct::MatrixProduct(const KernelRequest& request, size_t first) {
  const View& wanted = request.outputs[0].view;
  const Axes &out = wanted.axes, &left = request.inputs[first].view.axes,
             &right = request.inputs[first + 1].view.axes;
  batch = intersect(intersect(out, left), right);
  m = without(intersect(out, left), batch);
  n = without(intersect(out, right), batch);
  k = without(intersect(left, right), out);
  size_t ia = first, ib = first + 1;
  // The result's rows must be its outer part: else the transposed product.
  if (!rows_first(wanted, m, n)) {
    std::swap(m, n);
    std::swap(ia, ib);
  }
  a = factor(ia, request.inputs[ia].view, batch, m, k);
  b = factor(ib, request.inputs[ib].view, batch, k, n);
  result_copied = !rows_first(wanted, m, n);
  result = result_copied ? View::row_major(concatenated(batch, m, n)) : wanted;
}

int64_t MatrixProduct::result_row() const {
  return m.elements() == 1 ? n.elements() : *merged_stride(result, m);
}

int64_t MatrixProduct::batch_offset(const View& view, int64_t index) const {
  int64_t offset = 0;
  for (size_t i = batch.size(); i-- > 0; index /= batch[i].size)
    offset += index % batch[i].size * stride_of(view, batch[i].name);
  return offset;
}

}  // namespace levanter::kernels

// A product over named axes as batch, m, n and k: what a library of matrix products takes.
#pragma once

#include "device/backend.h"

namespace levanter::kernels {

/// A factor as a matrix per batch element, possibly after a copy into another layout.
struct Factor {
  size_t input = 0;  ///< among the request's
  View view;         ///< of the copy, or of the input itself
  bool copied = false;
  int64_t row = 0, col = 0;  ///< strides of (m or k) and (k or n): both at least 1, one of them 1
};

/// result[batch, m, n] = sum over k of a[batch, m, k] b[batch, k, n]. `a` and `b` are the request's
/// factors, or these exchanged where the result lies with its columns first.
struct MatrixProduct {
  /// The product of a dot or dot_add node; `first`: index of the left factor among the inputs.
  MatrixProduct(const KernelRequest& request, size_t first);

  /// Between rows of the result.
  int64_t result_row() const;
  /// Offset of the `index`-th element over the batch axes, in `view`.
  int64_t batch_offset(const View& view, int64_t index) const;

  Axes batch, m, n, k;
  Factor a, b;
  View result;  ///< row-major within a batch element: where the request wants it, or of a copy
  bool result_copied = false;
};

}  // namespace levanter::kernels

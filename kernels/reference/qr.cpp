// The orthonormal factor of matrices, by Householder's reflections in f64, one after the other.
#include <cmath>

#include "kernels/reference/walk.h"
#include "ops/entries.h"

namespace levanter::reference {

namespace {

/// Columns lie one after the other.
class Reflections {
 public:
  Reflections(int64_t rows, int64_t columns, double* workspace)
      : rows_(rows), columns_(columns), a_(workspace), q_(workspace + rows * columns) {}
  static int64_t bytes(int64_t rows, int64_t columns) { return 2 * 8 * rows * columns; }

  double& a(int64_t row, int64_t column) { return a_[column * rows_ + row]; }
  double q(int64_t row, int64_t column) const { return q_[column * rows_ + row]; }

  void factorise() {
    for (int64_t i = 0; i < rows_ * columns_; ++i) q_[i] = i / rows_ == i % rows_ ? 1 : 0;
    for (int64_t j = 0; j < columns_; ++j) {
      const double length = std::sqrt(dot(a_ + j * rows_, a_ + j * rows_, j));
      double& first = a(j, j);
      if (first > 0) q_[j * rows_ + j] = -1;  // R's element is the negative length
      first += first > 0 ? length : -length;  // the vector that is reflected along
      for (int64_t c = j + 1; c < columns_; ++c) reflect(j, a_ + c * rows_);
    }
    for (int64_t j = columns_; j-- > 0;)
      for (int64_t c = j; c < columns_; ++c) reflect(j, q_ + c * rows_);
  }

 private:
  double dot(const double* x, const double* y, int64_t from) const {
    double sum = 0;
    for (int64_t i = from; i < rows_; ++i) sum += x[i] * y[i];
    return sum;
  }
  /// y -= 2 v (v.y) / (v.v), v the j-th vector.
  void reflect(int64_t j, double* y) const {
    const double* const v = a_ + j * rows_;
    const double squares = dot(v, v, j);
    if (squares == 0) return;
    const double factor = 2 * dot(v, y, j) / squares;
    for (int64_t i = j; i < rows_; ++i) y[i] -= factor * v[i];
  }

  int64_t rows_, columns_;
  double *a_, *q_;
};

class QrKernel final : public LoopKernel {
 public:
  using LoopKernel::LoopKernel;
  int64_t workspace_bytes() const override { return Reflections::bytes(rows(), column().size); }
  void run(const void* const* in, void* const* out, void* workspace) const override {
    const View &x_view = inputs[0].view, &q_view = outputs[0].view;
    const Axes stack = without(without(x_view.axes, attributes.axis), column().name);
    const Axes matrix = {{attributes.axis, rows()}, column()};
    Reflections work(rows(), column().size, static_cast<double*>(workspace));
    with_type(inputs[0].dtype, [&](auto zero) {
      const auto* x = static_cast<const decltype(zero)*>(in[0]);
      auto* q = static_cast<decltype(zero)*>(out[0]);
      Walk(stack, {&x_view, &q_view}).each([&](const auto& at) {
        int64_t i = 0;
        Walk(matrix, {&x_view}).each([&](const auto& inside) {
          work.a(i / column().size, i % column().size) = static_cast<double>(x[at[0] + inside[0]]);
          ++i;
        });
        work.factorise();
        i = 0;
        Walk(matrix, {&q_view}).each([&](const auto& inside) {
          q[at[1] + inside[0]] =
              static_cast<decltype(zero)>(work.q(i / column().size, i % column().size));
          ++i;
        });
      });
    });
  }

 private:
  Axis column() const { return attributes.axes[0]; }
  int64_t rows() const { return inputs[0].view.axes.size_of(attributes.axis); }
};

}  // namespace

extern const KernelEntry qr_entry;
const KernelEntry qr_entry = {&ops::qr_entry, make<QrKernel>};

}  // namespace levanter::reference

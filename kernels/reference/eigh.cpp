// Eigenvalues and eigenvectors of symmetric matrices, by Jacobi's rotations in f64.
#include <cmath>
#include <limits>

#include "kernels/reference/walk.h"
#include "ops/entries.h"

namespace levanter::reference {

namespace {

constexpr int kSweeps = 60;
constexpr double kNegligible = 1e-17;  ///< beside the norm of all elements

/// a becomes diagonal, and the columns of v its eigenvectors; both are n by n.
class Rotations {
 public:
  Rotations(int64_t n, double* workspace) : n_(n), a_(workspace), v_(workspace + n * n) {}
  static int64_t bytes(int64_t n) { return 2 * 8 * n * n; }

  double& a(int64_t row, int64_t column) { return a_[row * n_ + column]; }
  double& v(int64_t row, int64_t column) { return v_[row * n_ + column]; }

  void diagonalise() {
    double squares = 0;
    for (int64_t i = 0; i < n_ * n_; ++i) {
      v_[i] = i / n_ == i % n_ ? 1 : 0;
      squares += a_[i] * a_[i];
    }
    const bool finite = std::isfinite(squares);
    negligible_ = kNegligible * std::sqrt(squares);
    for (int64_t i = 0; !finite && i < n_ * n_; ++i)
      a_[i] = v_[i] = std::numeric_limits<double>::quiet_NaN();
    for (int sweep = 0; finite && sweep < kSweeps; ++sweep) {
      bool rotated = false;
      for (int64_t p = 0; p < n_; ++p)
        for (int64_t q = p + 1; q < n_; ++q) rotated = rotate(p, q) || rotated;
      if (!rotated) return;
    }
  }

 private:
  /// Makes a[p, q] zero; whether it was not, nearly.
  bool rotate(int64_t p, int64_t q) {
    const double off = a(p, q);
    if (std::abs(off) <= negligible_) return false;
    const double theta = (a(q, q) - a(p, p)) / (2 * off);
    const double tangent = (theta < 0 ? -1 : 1) / (std::abs(theta) + std::sqrt(theta * theta + 1));
    const double c = 1 / std::sqrt(tangent * tangent + 1), s = tangent * c;
    const auto turn = [&](double& x, double& y) {
      const double before = x;
      x = c * before - s * y;
      y = s * before + c * y;
    };
    for (int64_t i = 0; i < n_; ++i) turn(a(p, i), a(q, i));
    for (int64_t i = 0; i < n_; ++i) {
      turn(a(i, p), a(i, q));
      turn(v(i, p), v(i, q));
    }
    a(p, q) = a(q, p) = 0;
    return true;
  }

  int64_t n_;
  double *a_, *v_;
  double negligible_ = 0;
};

class EighKernel final : public LoopKernel {
 public:
  using LoopKernel::LoopKernel;
  int64_t workspace_bytes() const override { return Rotations::bytes(n()); }
  void run(const void* const* in, void* const* out, void* workspace) const override {
    const View &x_view = inputs[0].view, &values_view = outputs[0].view;
    const View& vectors_view = outputs[1].view;
    const AxisName column = attributes.axes[0].name;
    Rotations work(n(), static_cast<double*>(workspace));
    with_type(inputs[0].dtype, [&](auto zero) {
      using T = decltype(zero);
      const auto* x = static_cast<const T*>(in[0]);
      auto *values = static_cast<T*>(out[0]), *vectors = static_cast<T*>(out[1]);
      Walk(without(without(x_view.axes, attributes.axis), column),
           {&x_view, &values_view, &vectors_view})
          .each([&](const auto& at) {
            for (int64_t i = 0; i < n(); ++i)
              for (int64_t j = 0; j <= i; ++j)
                work.a(i, j) = work.a(j, i) = static_cast<double>(x[at[0] + offset(x_view, i, j)]);
            work.diagonalise();
            for (int64_t j = 0; j < n(); ++j) {
              const int64_t to = place(work, j);
              values[at[1] + offset(values_view, 0, to)] = static_cast<T>(work.a(j, j));
              const double sign = sign_of(work, j);
              for (int64_t i = 0; i < n(); ++i)
                vectors[at[2] + offset(vectors_view, i, to)] = static_cast<T>(sign * work.v(i, j));
            }
          });
    });
  }

 private:
  int64_t n() const { return attributes.axes[0].size; }
  int64_t offset(const View& view, int64_t row, int64_t column) const {
    const int row_axis = view.axes.find(attributes.axis);
    const auto column_axis = static_cast<size_t>(view.axes.find(attributes.axes[0].name));
    return (row_axis < 0 ? 0 : row * view.strides[static_cast<size_t>(row_axis)]) +
           column * view.strides[column_axis];
  }
  /// How many eigenvalues come before the j-th.
  int64_t place(Rotations& work, int64_t j) const {
    int64_t before = 0;
    for (int64_t k = 0; k < n(); ++k)
      before += work.a(k, k) > work.a(j, j) || (!(work.a(k, k) < work.a(j, j)) && k < j);
    return before;
  }
  double sign_of(Rotations& work, int64_t j) const {
    double largest = 0;
    for (int64_t i = 0; i < n(); ++i)
      if (std::abs(work.v(i, j)) > std::abs(largest)) largest = work.v(i, j);
    return largest < 0 ? -1 : 1;
  }
};

}  // namespace

extern const KernelEntry eigh_entry;
const KernelEntry eigh_entry = {&ops::eigh_entry, make<EighKernel>};

}  // namespace levanter::reference

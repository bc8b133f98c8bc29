// Eigenvalues and eigenvectors of symmetric matrices, in f64: to tridiagonal form by reflections
// (Householder), its eigenvectors by the implicit QL method (Bowdler et al. 1968,
// doi:10.1007/BF02219776), and the reflections applied to those.
// Plain twin: kernels/reference/eigh.cpp.
#include <cmath>
#include <limits>

#include "kernels/cpu/kernel.h"
#include "ops/entries.h"

namespace levanter::cpu {

namespace {

constexpr int64_t kRows = 16;        ///< of a matrix or of eigenvectors, of one task
constexpr int64_t kColumns = 64;     ///< of eigenvectors, that one task rotates
constexpr int64_t kSweeps = 64;      ///< of the longest kind, whose rotations are applied together
constexpr int kMostIterations = 60;  ///< for one eigenvalue; about two are usual

/// The inner product in eight lanes: its bits depend on n alone.
double dot(const double* x, const double* y, int64_t n) {
  double lanes[8] = {};
  int64_t i = 0;
  for (; i + 8 <= n; i += 8)
    for (int64_t l = 0; l < 8; ++l) lanes[l] += x[i + l] * y[i + l];
  for (int64_t l = 0; i < n; ++i, ++l) lanes[l] += x[i] * y[i];
  return ((lanes[0] + lanes[4]) + (lanes[2] + lanes[6])) +
         ((lanes[1] + lanes[5]) + (lanes[3] + lanes[7]));
}

/// Rows i and i + 1 of eigenvectors turned by rotations of descending i, one after the other.
struct Sweep {
  int64_t last, count, first;  ///< i of the first one, how many, and where they are
};
struct Rotation {
  double c, s;
};

class EighKernel final : public CpuKernel {
 public:
  EighKernel(Context& c, const KernelRequest& request)
      : CpuKernel(c, request), n_(attributes.axes[0].size) {}

  int64_t workspace_bytes() const override { return 8 * (2 * n_ + kOfEachRow) * n_; }

  void run(const void* const* in, void* const* out, void* workspace) const override {
    const View &x_view = inputs[0].view, &values_view = outputs[0].view;
    const Axes stack = without(without(x_view.axes, attributes.axis), attributes.axes[0].name);
    const kernels::Dims matrices(x_view, stack), values(values_view, stack);
    Work work(n_, workspace);
    for (int64_t i = 0; i < stack.elements(); ++i) {
      float* const to = floats(out[0]) + values.offset(i);
      float* const vectors = floats(out[1]) + matrices.offset(i);
      const bool finite = load(work, floats(in[0]) + matrices.offset(i));
      if (finite) {
        reduce(work);
        iterate(work);
      } else {
        std::fill_n(work.d, n_, std::numeric_limits<double>::quiet_NaN());
        std::fill_n(work.z, n_ * n_, std::numeric_limits<double>::quiet_NaN());
        std::fill_n(work.factors, n_, 0.0);
      }
      store(work, to, vectors);
    }
  }

 private:
  /// Words of a workspace for each row, besides two matrices.
  static constexpr int64_t kOfEachRow = 6 + kSweeps * (sizeof(Rotation) + sizeof(Sweep)) / 8;

  struct Work {
    Work(int64_t n, void* workspace) {
      auto* at = static_cast<double*>(workspace);
      const auto take = [&](int64_t count) {
        double* const from = at;
        at += count;
        return from;
      };
      a = take(n * n);
      z = take(n * n);
      d = take(n);
      e = take(n);
      factors = take(n);
      p = take(n);
      w = take(n);
      order = reinterpret_cast<int64_t*>(take(n));
      rotations = reinterpret_cast<Rotation*>(take(2 * kSweeps * n));
      sweeps = reinterpret_cast<Sweep*>(take(3 * kSweeps * n));
    }
    double* a;        ///< the matrix; of row k the vector of reflection k remains, from k + 1 on
    double* z;        ///< eigenvectors, one a row
    double *d, *e;    ///< the diagonal, which becomes the eigenvalues, and the one beside it
    double* factors;  ///< of the reflections I - factor v v^T
    double *p, *w;
    int64_t* order;  ///< of the eigenvalues
    Rotation* rotations;
    Sweep* sweeps;
    int64_t rotation_count = 0, sweep_count = 0;
  };

  int64_t row_stride() const { return stride_of(inputs[0].view, attributes.axis); }
  int64_t column_stride() const { return stride_of(inputs[0].view, attributes.axes[0].name); }

  /// fn(row) for the rows from `first` on, on the pool.
  template <class Fn>
  void for_each_row(int64_t first, Fn&& fn) const {
    context.pool.parallel_for(ceil_div(n_ - first, kRows), [&](int64_t task, int) {
      const int64_t begin = first + task * kRows, end = std::min(n_, begin + kRows);
      for (int64_t row = begin; row < end; ++row) fn(row);
    });
  }

  /// Whether all elements are finite.
  bool load(const Work& work, const float* x) const {
    bool finite = true;
    for (int64_t i = 0; i < n_; ++i)
      for (int64_t j = 0; j <= i; ++j) {
        const float element = x[i * row_stride() + j * column_stride()];
        finite = finite && std::isfinite(element);
        work.a[i * n_ + j] = work.a[j * n_ + i] = element;
      }
    return finite;
  }

  /// a = H d,e H^T, H the product of the reflections. What a reflection makes of the rest,
  /// a -= v w^T + w v^T, is done as its rows are next read.
  void reduce(const Work& work) const {
    const double *v = nullptr, *w = work.w;  // of the reflection before
    const auto update = [&](int64_t row, int64_t from) {
      if (!v) return;
      double* const a = work.a + row * n_;
      const double v_row = v[row], w_row = w[row];
      for (int64_t j = from; j < n_; ++j) a[j] -= v_row * w[j] + w_row * v[j];
    };
    for (int64_t k = 0; k < n_; ++k) {
      double* const row = work.a + k * n_;
      update(k, k);
      work.d[k] = row[k];
      work.e[k] = work.factors[k] = 0;
      if (k + 1 == n_) break;
      const int64_t from = k + 1, rest = n_ - from;
      const double factor = reflection(row + from, rest, &work.e[k]);
      for_each_row(from, [&](int64_t i) {
        update(i, from);
        work.p[i] = factor * dot(work.a + i * n_ + from, row + from, rest);
      });
      work.factors[k] = factor;
      const double half = factor / 2 * dot(work.p + from, row + from, rest);
      for (int64_t i = from; i < n_; ++i) work.w[i] = work.p[i] - half * row[i];
      v = row;
    }
  }

  /// Makes of x the vector v, v[0] = 1, with (I - factor v v^T) x = (r, 0, ...); returns factor.
  static double reflection(double* x, int64_t n, double* r) {
    const double first = x[0], length = std::sqrt(dot(x, x, n));
    *r = first > 0 ? -length : length;
    x[0] = 1;
    for (int64_t i = 1; i < n; ++i) x[i] = length == 0 ? 0 : x[i] / (first - *r);
    return length == 0 ? 0 : (*r - first) / *r;
  }

  /// Eigenvalues into d, and the tridiagonal matrix' eigenvectors into the rows of z.
  void iterate(Work& work) const {
    for (int64_t i = 0; i < n_ * n_; ++i) work.z[i] = i / n_ == i % n_ ? 1 : 0;
    double largest = 0;
    for (int64_t i = 0; i < n_; ++i)
      largest = std::max(largest, std::max(std::abs(work.d[i]), std::abs(work.e[i])));
    const double negligible = std::numeric_limits<double>::epsilon() * largest;
    for (int64_t l = 0; l < n_; ++l)
      for (int iteration = 0; iteration < kMostIterations; ++iteration) {
        int64_t m = l;
        while (m + 1 < n_ && std::abs(work.e[m]) > negligible) ++m;
        if (m == l) break;
        sweep(work, l, m);
      }
    rotate(work);
  }

  /// One implicit QL step on rows l to m.
  void sweep(Work& work, int64_t l, int64_t m) const {
    if (work.rotation_count + m - l > kSweeps * n_ || work.sweep_count == kSweeps * n_)
      rotate(work);
    double *const d = work.d, *const e = work.e;
    double g = (d[l + 1] - d[l]) / (2 * e[l]);
    g = d[m] - d[l] + e[l] / (g + std::copysign(std::hypot(g, 1), g));
    double s = 1, c = 1, p = 0;
    Sweep done{m - 1, 0, work.rotation_count};
    for (int64_t i = m - 1; i >= l; --i) {
      const double f = s * e[i], b = c * e[i], r = std::hypot(f, g);
      e[i + 1] = r;
      if (r == 0) {  // it falls apart here
        d[i + 1] -= p;
        e[m] = 0;
        break;
      }
      s = f / r;
      c = g / r;
      const double shifted = d[i + 1] - p, t = (d[i] - shifted) * s + 2 * c * b;
      p = s * t;
      d[i + 1] = shifted + p;
      g = c * t - b;
      work.rotations[done.first + done.count++] = {c, s};
    }
    work.rotation_count += done.count;
    work.sweeps[work.sweep_count++] = done;
    if (done.count < m - l) return;
    d[l] -= p;
    e[l] = g;
    e[m] = 0;
  }

  /// The rotations that are waiting, applied to z: a task has some columns.
  void rotate(Work& work) const {
    context.pool.parallel_for(ceil_div(n_, kColumns), [&](int64_t task, int) {
      const int64_t first = task * kColumns, width = std::min(kColumns, n_ - first);
      for (int64_t at = 0; at < work.sweep_count; ++at) {
        const Sweep& sweep = work.sweeps[at];
        for (int64_t k = 0; k < sweep.count; ++k) {
          const auto [c, s] = work.rotations[sweep.first + k];
          double* const low = work.z + (sweep.last - k) * n_ + first;
          double* const high = low + n_;
          for (int64_t j = 0; j < width; ++j) {
            const double before = high[j];
            high[j] = s * low[j] + c * before;
            low[j] = c * low[j] - s * before;
          }
        }
      }
    });
    work.rotation_count = work.sweep_count = 0;
  }

  /// The eigenvectors of the matrix itself, in falling order.
  void store(const Work& work, float* values, float* vectors) const {
    for (int64_t j = 0; j < n_; ++j) work.order[j] = j;
    std::sort(work.order, work.order + n_, [&](int64_t i, int64_t j) {
      return work.d[i] > work.d[j] || (work.d[i] == work.d[j] && i < j);
    });
    const int64_t values_stride = stride_of(outputs[0].view, attributes.axes[0].name);
    for_each_row(0, [&](int64_t place) {
      double* const z = work.z + work.order[place] * n_;
      for (int64_t k = n_ - 1; k-- > 0;) {
        const double* const v = work.a + k * n_ + k + 1;
        const double factor = work.factors[k] * dot(v, z + k + 1, n_ - k - 1);
        for (int64_t i = 0; i < n_ - k - 1; ++i) z[k + 1 + i] -= factor * v[i];
      }
      double largest = 0;
      for (int64_t i = 0; i < n_; ++i)
        if (std::abs(z[i]) > std::abs(largest)) largest = z[i];
      const double sign = largest < 0 ? -1 : 1;
      for (int64_t i = 0; i < n_; ++i)
        vectors[i * row_stride() + place * column_stride()] = static_cast<float>(sign * z[i]);
      values[place * values_stride] = static_cast<float>(work.d[work.order[place]]);
    });
  }

  int64_t n_;
};

std::unique_ptr<Kernel> make_eigh(Context& context, const KernelRequest& request) {
  return request.outputs[0].dtype == DType::f64 ? nullptr : make<EighKernel>(context, request);
}

}  // namespace

extern const CpuKernelEntry eigh_entry;
const CpuKernelEntry eigh_entry = {
    {.op = &ops::eigh_entry, .make = make_eigh, .packs_inputs = true}};

}  // namespace levanter::cpu

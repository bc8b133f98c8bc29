// The orthonormal factor of matrices: blocks of Householder's reflections as products (Schreiber &
// Van Loan 1989, doi:10.1137/0910005), H1 H2 ... = I - V T V^T.
// Plain twin: kernels/reference/qr.cpp.
#include <cmath>

#include "kernels/cpu/kernel.h"
#include "ops/entries.h"

namespace levanter::cpu {

namespace {

constexpr int64_t kBlock = 64;       ///< columns whose reflections are one block, and of a strip
constexpr int64_t kChunkRows = 256;  ///< that a strip is updated in: they stay in the cache

/// A matrix as strips of kBlock columns, each dense rows of its own.
struct Strips {
  int64_t rows = 0, columns = 0;

  int64_t count() const { return ceil_div(columns, kBlock); }
  int64_t first(int64_t strip) const { return strip * kBlock; }
  int64_t width(int64_t strip) const { return std::min(kBlock, columns - first(strip)); }
  int64_t height(int64_t strip) const { return rows - first(strip); }  ///< from its diagonal on
  float* at(float* all, int64_t strip) const { return all + first(strip) * rows; }
};

class QrKernel final : public CpuKernel {
 public:
  QrKernel(Context& c, const KernelRequest& request) : CpuKernel(c, request) {
    strips_ = {inputs[0].view.axes.size_of(attributes.axis), attributes.axes[0].size};
    for (int64_t strip = 0; strip < strips_.count(); ++strip) {
      const int64_t width = strips_.width(strip), height = strips_.height(strip);
      Block block;
      for (const bool last : {false, true}) {
        const int64_t n = strips_.width(last ? strips_.count() - 1 : 0);
        const auto product = [&](int64_t m, int64_t k, int64_t a_row, int64_t a_col) {
          const Product& made = context.products.get(
              {.m = m, .n = n, .k = k, .a_row = a_row, .a_col = a_col, .b_row = n, .c_row = n});
          product_bytes_ =
              std::max(product_bytes_, align64(static_cast<int64_t>(made.scratch_bytes())));
          return &made;
        };
        BlockProducts& p = block.by_width[last ? 1 : 0];
        p.inner = product(width, height, 1, width);
        p.turned = product(width, width, 1, width);
        p.plain = product(width, width, width, 1);
        if (height >= kChunkRows) p.chunk = product(kChunkRows, width, width, 1);
        if (height % kChunkRows > 0) p.rest = product(height % kChunkRows, width, width, 1);
      }
      blocks_.push_back(block);
    }
  }

  int64_t workspace_bytes() const override {
    return shared_bytes() + context.pool.threads() * worker_bytes();
  }

  void run(const void* const* in, void* const* out, void* workspace) const override {
    const View& view = inputs[0].view;
    const Axes stack = without(without(view.axes, attributes.axis), attributes.axes[0].name);
    const kernels::Dims matrices(view, stack);
    const Work work(strips_, workspace);
    for (int64_t i = 0; i < stack.elements(); ++i) {
      load(work, floats(in[0]) + matrices.offset(i));
      for (int64_t strip = 0; strip < strips_.count(); ++strip) {
        factorise(work, strip);
        context.pool.parallel_for(strips_.count() - strip - 1, [&](int64_t task, int worker) {
          apply(work, strip, strip + 1 + task, Order::kTransposed, worker);
        });
      }
      multiply_out(work, floats(out[0]) + matrices.offset(i));
    }
  }

 private:
  struct BlockProducts {
    const Product *inner = nullptr, *turned = nullptr, *plain = nullptr;
    const Product *chunk = nullptr, *rest = nullptr;
  };
  /// The products of a block with a strip that is as wide as the first, and as the last.
  struct Block {
    BlockProducts by_width[2];
  };
  enum class Order { kPlain, kTransposed };  ///< of I - V T V^T

  struct Work {
    Work(const Strips& strips, void* workspace) {
      const int64_t elements = align64(strips.rows * strips.columns * 4) / 4;
      matrix = floats(workspace);
      v = matrix + elements;
      t = v + elements;
      signs = t + strips.count() * kBlock * kBlock;
      panel = signs + align64(strips.columns * 4) / 4;
      workers = reinterpret_cast<std::byte*>(panel + kBlock * align64(strips.rows * 4) / 4);
    }
    float* matrix;       ///< strips: x, of which R remains above the diagonal, then Q
    float* v;            ///< of each strip [height, width]
    float* t;            ///< of each strip [width, width], negative
    float* signs;        ///< of R's diagonal
    float* panel;        ///< [width, height]: the columns of a strip
    std::byte* workers;  ///< worker_bytes() of each
  };

  int64_t shared_bytes() const {
    return 2 * align64(strips_.rows * strips_.columns * 4) + strips_.count() * kBlock * kBlock * 4 +
           align64(strips_.columns * 4) + kBlock * align64(strips_.rows * 4);
  }
  int64_t worker_bytes() const { return (2 * kBlock + kChunkRows) * kBlock * 4 + product_bytes_; }
  int64_t row_stride() const { return stride_of(inputs[0].view, attributes.axis); }
  int64_t column_stride() const { return stride_of(inputs[0].view, attributes.axes[0].name); }

  void load(const Work& work, const float* x) const {
    context.pool.parallel_for(strips_.count(), [&](int64_t strip, int) {
      float* const to = strips_.at(work.matrix, strip);
      const int64_t width = strips_.width(strip), first = strips_.first(strip);
      for (int64_t r = 0; r < strips_.rows; ++r)
        for (int64_t c = 0; c < width; ++c)
          to[r * width + c] = x[r * row_stride() + (first + c) * column_stride()];
    });
  }

  /// The reflections of a strip that those before it have been applied to.
  void factorise(const Work& work, int64_t strip) const {
    const int64_t width = strips_.width(strip), height = strips_.height(strip);
    const int64_t first = strips_.first(strip);
    const float* const x = strips_.at(work.matrix, strip) + first * width;
    float *const v = strips_.at(work.v, strip), *const t = work.t + strip * kBlock * kBlock;
    const auto column = [&](int64_t c) { return work.panel + c * height; };
    for (int64_t r = 0; r < height; ++r)
      for (int64_t c = 0; c < width; ++c) column(c)[r] = x[r * width + c];
    for (int64_t j = 0; j < width; ++j) {
      const float factor = reflection(column(j) + j, height - j, &work.signs[first + j]);
      for (int64_t c = j + 1; c < width; ++c)
        subtract(column(c) + j, column(j) + j, height - j,
                 factor * context.vector.dot(column(j) + j, column(c) + j, height - j));
      std::fill_n(column(j), j, 0.0f);
      extend(work, t, width, j, height, factor);
    }
    for (int64_t r = 0; r < height; ++r)
      for (int64_t c = 0; c < width; ++c) v[r * width + c] = column(c)[r];
  }

  /// Makes of x the vector v, v[0] = 1, with (I - factor v v^T) x = (r, 0, ...); returns factor.
  static float reflection(float* x, int64_t n, float* sign) {
    double squares = 0;
    for (int64_t i = 0; i < n; ++i) squares += static_cast<double>(x[i]) * x[i];
    const double first = x[0], r = first > 0 ? -std::sqrt(squares) : std::sqrt(squares);
    *sign = r < 0 ? -1.0f : 1.0f;
    x[0] = 1;
    if (r == 0) {
      std::fill_n(x + 1, n - 1, 0.0f);
      return 0;
    }
    const double scale = 1 / (first - r);
    for (int64_t i = 1; i < n; ++i) x[i] = static_cast<float>(x[i] * scale);
    return static_cast<float>((r - first) / r);
  }

  static void subtract(float* y, const float* x, int64_t n, float factor) {
    for (int64_t i = 0; i < n; ++i) y[i] -= factor * x[i];
  }

  /// The j-th column of -T: above the diagonal factor T V^T v_j, on it -factor.
  void extend(const Work& work, float* t, int64_t width, int64_t j, int64_t height,
              float factor) const {
    float inner[kBlock];
    const float* const v = work.panel + j * height;
    for (int64_t i = 0; i < j; ++i)
      inner[i] = context.vector.dot(work.panel + i * height + j, v + j, height - j);
    for (int64_t i = 0; i < width; ++i) {
      float sum = 0;
      for (int64_t k = i; k < j; ++k) sum += t[i * width + k] * inner[k];
      t[i * width + j] = i < j ? -factor * sum : 0;
    }
    t[j * width + j] = -factor;
  }

  /// x += V (-T) V^T x, or with T^T, of the rows of a strip that the block reflects.
  void apply(const Work& work, int64_t block, int64_t strip, Order order, int worker) const {
    const int64_t width = strips_.width(block), height = strips_.height(block);
    const int64_t columns = strips_.width(strip);
    const BlockProducts& p = blocks_[static_cast<size_t>(block)].by_width[columns < kBlock ? 1 : 0];
    float* const x = strips_.at(work.matrix, strip) + strips_.first(block) * columns;
    const float* const v = strips_.at(work.v, block);
    auto* const inner = reinterpret_cast<float*>(work.workers + worker * worker_bytes());
    float *const turned = inner + kBlock * kBlock, *const chunk = turned + kBlock * kBlock;
    void* const scratch = chunk + kChunkRows * kBlock;
    p.inner->run(worker, v, x, inner, scratch);
    (order == Order::kTransposed ? p.turned : p.plain)
        ->run(worker, work.t + block * kBlock * kBlock, inner, turned, scratch);
    for (int64_t r = 0; r < height; r += kChunkRows) {
      const int64_t rows = std::min(kChunkRows, height - r);
      (rows == kChunkRows ? p.chunk : p.rest)->run(worker, v + r * width, turned, chunk, scratch);
      context.vector.add_to(x + r * columns, chunk, rows * columns);
    }
  }

  /// Q: the reflections applied to the columns of the identity, each strip on its own.
  void multiply_out(const Work& work, float* q) const {
    context.pool.parallel_for(strips_.count(), [&](int64_t task, int worker) {
      const int64_t strip = strips_.count() - 1 - task;  // the longest first
      const int64_t width = strips_.width(strip), first = strips_.first(strip);
      float* const x = strips_.at(work.matrix, strip);
      std::fill_n(x, strips_.rows * width, 0.0f);
      for (int64_t c = 0; c < width; ++c) x[(first + c) * width + c] = work.signs[first + c];
      for (int64_t block = strip; block >= 0; --block)
        apply(work, block, strip, Order::kPlain, worker);
      for (int64_t r = 0; r < strips_.rows; ++r)
        for (int64_t c = 0; c < width; ++c)
          q[r * row_stride() + (first + c) * column_stride()] = x[r * width + c];
    });
  }

  Strips strips_;
  std::vector<Block> blocks_;
  int64_t product_bytes_ = 0;
};

std::unique_ptr<Kernel> make_qr(Context& context, const KernelRequest& request) {
  return request.outputs[0].dtype == DType::f64 ? nullptr : make<QrKernel>(context, request);
}

}  // namespace

extern const CpuKernelEntry qr_entry;
const CpuKernelEntry qr_entry = {{.op = &ops::qr_entry, .make = make_qr, .packs_inputs = true}};

}  // namespace levanter::cpu

// Products as tiled matrix products: the named axes become batch, m, n and k.
#include <optional>

#include "base/error.h"
#include "kernels/cpu/copy.h"
#include "kernels/cpu/dot.h"
#include "ops/entries.h"

namespace levanter::cpu {

namespace {

/// The stride of `axes` seen as one axis, innermost last; none when they do not lie like that.
std::optional<int64_t> merged_stride(const View& view, const Axes& axes) {
  std::optional<int64_t> stride;
  int64_t expected = 0;
  for (size_t i = axes.size(); i-- > 0;) {
    if (axes[i].size == 1) continue;
    const int64_t s = view.strides[static_cast<size_t>(view.axes.find(axes[i].name))];
    if (!stride)
      stride = s;
    else if (s != expected)
      return std::nullopt;
    expected = s * axes[i].size;
  }
  return stride.value_or(1);
}

Axes concatenated(const Axes& a, const Axes& b, const Axes& c) { return unite(unite(a, b), c); }

/// A factor as a matrix per batch element, possibly after a copy into another layout.
struct Factor {
  size_t input = 0;
  View view;  ///< of the copy, or of the input itself
  bool copied = false;
  int64_t row = 0, col = 0;  ///< strides of (m or k) and (k or n)
};

class DotKernel final : public TiledDot {
 public:
  /// `first`: index of the left factor among the inputs; `store`: added to input 0 or not.
  DotKernel(Context& c, const KernelRequest& request, size_t first, Store store)
      : TiledDot(c, request), store_(store) {
    const View &a = inputs[first].view, &b = inputs[first + 1].view;
    const Axes out = outputs[0].view.axes, &left = a.axes, &right = b.axes;
    batch_ = intersect(intersect(out, left), right);
    m_ = without(intersect(out, left), batch_);
    n_ = without(intersect(out, right), batch_);
    k_ = without(intersect(left, right), out);
    size_t ia = first, ib = first + 1;
    // The result's rows must be its outer part: else compute the transposed product.
    if (!rows_first(outputs[0].view)) {
      std::swap(m_, n_);
      std::swap(ia, ib);
    }
    a_ = factor(ia, m_, k_);
    b_ = factor(ib, k_, n_);
    result_ = result_layout();
    const int64_t rows = m_.elements(), columns = n_.elements();
    const int64_t c_row = rows == 1 ? columns : *merged_stride(result_, m_);
    const ProductShape shape{.m = rows,
                             .n = columns,
                             .k = k_.elements(),
                             .a_row = a_.row,
                             .a_col = a_.col,
                             .b_row = b_.row,
                             .b_col = b_.col,
                             .c_row = c_row,
                             .factors = inputs[first].dtype};
    gemm_.emplace(c.products, shape, request.few_rows);
  }

  int64_t workspace_bytes() const override {
    return bytes(a_) + bytes(b_) + (result_copied_ ? align64(outputs[0].bytes()) : 0) +
           static_cast<int64_t>(gemm_->run_scratch_bytes(context.pool.threads()));
  }

  bool in_place(size_t, size_t input) const override { return store_ == Store::kAdd && input == 0; }

  void run(const void* const* in, void* const* out, void* workspace) const override {
    auto* scratch = static_cast<std::byte*>(workspace);
    const std::byte* a = prepare(a_, in, scratch);
    const std::byte* b = prepare(b_, in, scratch);
    float* c = floats(out[0]);
    if (result_copied_) {
      c = reinterpret_cast<float*>(scratch);
      scratch += align64(outputs[0].bytes());
    }
    if (store_ == Store::kAdd && (result_copied_ || in[0] != out[0]))
      copy_strided(context.pool, DType::f32, in[0], inputs[0].view, c, result_);
    multiply(a, b, c, scratch);
    if (result_copied_) copy_strided(context.pool, DType::f32, c, result_, out[0], outputs[0].view);
  }

  bool has_tiles(int64_t columns, bool whole) const override {
    return !result_copied_ && batch_.elements() == 1 && result_.is_contiguous() &&
           n_.elements() == columns && (!whole || gemm_->grid().tiles_n == 1);
  }

  void run_tiles(const void* const* in, float* result, void* workspace,
                 const std::function<void(const Tile&, int)>& take) const override {
    auto* scratch = static_cast<std::byte*>(workspace);
    const std::byte* a = prepare(a_, in, scratch);
    const std::byte* b = prepare(b_, in, scratch);
    const Factors ready = gemm_->pack(context.pool, {a, b}, scratch);
    scratch += gemm_->packed_bytes();
    const auto stride = static_cast<int64_t>(gemm_->scratch_bytes_per_worker());
    context.pool.parallel_for(gemm_->tiles(), [&](int64_t index, int worker) {
      take(gemm_->multiply(index, worker, ready, scratch + worker * stride, result), worker);
    });
  }

 private:
  bool rows_first(const View& view) const {
    const auto columns = merged_stride(view, n_), rows = merged_stride(view, m_);
    return n_.elements() > 1 && columns == 1 && rows;
  }

  /// Input `index` as a matrix of `rows` by `columns`, copied when it does not lie like one.
  Factor factor(size_t index, const Axes& rows, const Axes& columns) const {
    Factor f;
    f.input = index;
    f.view = inputs[index].view;
    if (set_strides(f, rows, columns)) return f;
    f.copied = true;
    f.view = View::row_major(concatenated(batch_, rows, columns));
    LEV_CHECK(set_strides(f, rows, columns), "a row-major copy is a matrix");
    return f;
  }

  /// Finds the strides of a matrix in f.view: both at least 1, one of them 1. An extent of one may
  /// have any stride.
  static bool set_strides(Factor& f, const Axes& rows, const Axes& columns) {
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

  View result_layout() {
    if (rows_first(outputs[0].view)) return outputs[0].view;
    result_copied_ = true;
    return View::row_major(concatenated(batch_, m_, n_));
  }

  /// Of the factor's copy in the workspace.
  int64_t bytes(const Factor& f) const {
    return f.copied ? align64(f.view.axes.elements() * size_of(inputs[f.input].dtype)) : 0;
  }

  const std::byte* prepare(const Factor& f, const void* const* in, std::byte*& scratch) const {
    if (!f.copied) return static_cast<const std::byte*>(in[f.input]);
    std::byte* copy = scratch;
    scratch += bytes(f);
    copy_strided(context.pool, inputs[f.input].dtype, in[f.input], inputs[f.input].view, copy,
                 f.view);
    return copy;
  }

  /// Offset of the `index`-th element over the batch axes.
  int64_t batch_offset(const View& view, int64_t index) const {
    int64_t offset = 0;
    for (size_t i = batch_.size(); i-- > 0; index /= batch_[i].size)
      offset += index % batch_[i].size *
                view.strides[static_cast<size_t>(view.axes.find(batch_[i].name))];
    return offset;
  }

  /// The factors of the `index`-th product of a batch.
  Factors factors(const std::byte* a, const std::byte* b, int64_t index) const {
    const int64_t size = size_of(inputs[a_.input].dtype);
    return {a + batch_offset(a_.view, index) * size, b + batch_offset(b_.view, index) * size};
  }

  void multiply(const std::byte* a, const std::byte* b, float* c, std::byte* scratch) const {
    if (gemm_->packed_bytes() > 0) {  // long products: a batch of them goes one by one
      for (int64_t i = 0; i < batch_.elements(); ++i)
        gemm_->run(context.pool, factors(a, b, i), c + batch_offset(result_, i), store_, scratch);
      return;
    }
    const int64_t tiles = gemm_->tiles();
    const auto stride = static_cast<int64_t>(gemm_->scratch_bytes_per_worker());
    context.pool.parallel_for(batch_.elements() * tiles, [&](int64_t task, int worker) {
      const int64_t i = task / tiles;
      gemm_->run_tile(task % tiles, worker, factors(a, b, i), c + batch_offset(result_, i), store_,
                      scratch + worker * stride);
    });
  }

  Store store_;
  Axes batch_, m_, n_, k_;
  Factor a_, b_;
  View result_;
  bool result_copied_ = false;
  std::optional<Gemm> gemm_;
};

/// Without anything to multiply dot_add is decomposed, and dot is the reference's.
bool multiplies(const Node&, std::span<const Type> in) {
  return in[in.size() - 2].elements() > 0 && in[in.size() - 1].elements() > 0;
}

std::unique_ptr<Kernel> make_dot(Context& context, const KernelRequest& request) {
  if (request.outputs[0].dtype != DType::f32 || request.inputs[0].view.axes.elements() == 0 ||
      request.inputs[1].view.axes.elements() == 0)
    return nullptr;
  return std::make_unique<DotKernel>(context, request, 0, Store::kOverwrite);
}

std::unique_ptr<Kernel> make_dot_add(Context& context, const KernelRequest& request) {
  return std::make_unique<DotKernel>(context, request, 1, Store::kAdd);
}

}  // namespace

std::unique_ptr<TiledDot> make_tiled_dot(Context& context, const KernelRequest& request) {
  return std::make_unique<DotKernel>(context, request, 0, Store::kOverwrite);
}

extern const CpuKernelEntry dot_entry;
const CpuKernelEntry dot_entry = {
    {.op = &ops::dot_entry, .make = make_dot, .bf16 = true},
    {.op = &ops::dot_add_entry, .make = make_dot_add, .supports = multiplies, .bf16 = true}};

}  // namespace levanter::cpu

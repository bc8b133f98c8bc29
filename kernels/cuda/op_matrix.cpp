// Factors of matrices: qr in blocks of reflections, two kernels for each block; eigh by a block of
// threads for each matrix. Both work on copies without gaps.
#include <algorithm>

#include "kernels/cuda/kernel.h"

namespace levanter::cuda {

namespace {

/// Pieces of a workspace, one after the other.
class Pieces {
 public:
  explicit Pieces(void* workspace) : at_(static_cast<std::byte*>(workspace)) {}
  float* take(int64_t count) {
    std::byte* const from = at_;
    at_ += aligned(4 * count);
    return reinterpret_cast<float*>(from);
  }

 private:
  std::byte* at_;
};

/// [stack..., last two]: the axes of a node's matrices, rows or columns last.
Axes matrix_axes(const Axes& axes, const Axis& row, const Axis& column, bool rows_last) {
  Axes order = without(without(axes, row.name), column.name);
  order.push_back(rows_last ? column : row);
  order.push_back(rows_last ? row : column);
  return order;
}

class MatrixKernel : public CudaKernel {
 public:
  MatrixKernel(Context& c, const KernelRequest& request)
      : CudaKernel(c, request),
        column_(attributes.axes[0]),
        row_{attributes.axis, inputs[0].view.axes.size_of(attributes.axis)},
        columns_first_(View::row_major(matrix_axes(inputs[0].view.axes, row_, column_, true))),
        elements_(inputs[0].view.axes.elements()),
        matrices_(elements_ / row_.size / column_.size) {}

 protected:
  Axis column_, row_;
  View columns_first_;  ///< of a copy whose columns are without gaps
  int64_t elements_, matrices_;
};

class QrKernel final : public MatrixKernel {
 public:
  QrKernel(Context& c, const KernelRequest& request)
      : MatrixKernel(c, request),
        load_(c, DType::f32, columns_first_.axes, inputs[0].view, columns_first_),
        store_(c, DType::f32, columns_first_.axes, columns_first_, outputs[0].view),
        panel_(c, "matrix", "qr_panel"),
        apply_(c, "matrix", "qr_apply"),
        begin_(c, "matrix", "qr_begin") {}

  int64_t workspace_bytes() const override {
    return 2 * aligned(4 * elements_) + 2 * aligned(4 * matrices_ * column_.size);
  }

  void run(const void* const* in, void* const* out, void* workspace) const override {
    Pieces pieces(workspace);
    QrArguments a{};
    a.rows = row_.size;
    a.columns = column_.size;
    a.vectors = a.to = pieces.take(elements_);
    float* const q = pieces.take(elements_);
    a.factors = pieces.take(matrices_ * a.columns);
    a.signs = pieces.take(matrices_ * a.columns);
    load_.run(in[0], a.vectors);
    const int64_t blocks = ceil_div<int64_t>(a.columns, QrArguments::kCount);
    for (int64_t block = 0; block < blocks; ++block) {
      choose(a, block);
      panel_.launch({{matrices_, 1, 1}}, a);
      a.begin = a.first + a.count;
      apply_.launch({{matrices_ * (a.columns - a.begin), 1, 1}}, a);
    }
    a.to = q;
    a.reversed = true;
    a.count = matrices_;
    begin_.loop(elements_, a);
    for (int64_t block = blocks; block-- > 0;) {
      choose(a, block);
      a.begin = a.first;  // columns before are those of the identity, which it leaves
      apply_.launch({{matrices_ * (a.columns - a.begin), 1, 1}}, a);
    }
    store_.run(q, out[0]);
  }

 private:
  static void choose(QrArguments& a, int64_t block) {
    a.first = block * QrArguments::kCount;
    a.count = std::min<int64_t>(QrArguments::kCount, a.columns - a.first);
  }

  CopyFunction load_, store_;
  Function panel_, apply_, begin_;
};

class EighKernel final : public MatrixKernel {
 public:
  EighKernel(Context& c, const KernelRequest& request)
      : MatrixKernel(c, request),
        rows_first_(View::row_major(matrix_axes(inputs[0].view.axes, row_, column_, false))),
        load_(c, DType::f32, rows_first_.axes, inputs[0].view, rows_first_),
        store_(c, DType::f32, columns_first_.axes, columns_first_, outputs[1].view),
        function_(c, "matrix", "eigh") {}

  int64_t workspace_bytes() const override {
    return 3 * aligned(4 * elements_) + aligned(4 * matrices_ * (column_.size + 1));
  }

  void run(const void* const* in, void* const* out, void* workspace) const override {
    Pieces pieces(workspace);
    EighArguments a{};
    a.n = column_.size;
    a.a = pieces.take(elements_);
    a.v = pieces.take(elements_);
    a.vectors = pieces.take(elements_);
    a.turns = pieces.take(matrices_ * (a.n + 1));
    a.values = static_cast<float*>(out[0]);
    load_.run(in[0], a.a);
    function_.launch({{matrices_, 1, 1}}, a);
    store_.run(a.vectors, out[1]);
  }

 private:
  View rows_first_;
  CopyFunction load_, store_;
  Function function_;
};

}  // namespace

extern const CudaKernelEntry matrix_entry;
const CudaKernelEntry matrix_entry = {
    {{&ops::qr_entry, make<QrKernel>}, {&ops::eigh_entry, make<EighKernel>}}};

}  // namespace levanter::cuda

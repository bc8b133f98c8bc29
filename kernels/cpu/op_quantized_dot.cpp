// Products with a matrix of int8: its columns are expanded a panel at a time, which stays in the
// cache while the rows are multiplied by it.
// Plain twin: src/ops/composite/quantized_dot.cpp.
#include <array>
#include <optional>

#include "kernels/cpu/gemm.h"
#include "kernels/cpu/kernel.h"
#include "ops/entries.h"

namespace levanter::cpu {

namespace {

constexpr int64_t kPanelBytes = 2 << 20;  ///< of an expanded panel: about a core's own cache
constexpr int64_t kNarrowestPanel = 64;   ///< columns, of which panels are multiples
constexpr int64_t kStretch = 1024;        ///< elements that are expanded at once

class QuantizedDotKernel final : public CpuKernel {
 public:
  QuantizedDotKernel(Context& c, const KernelRequest& request)
      : CpuKernel(c, request), element_(size_of(inputs[0].dtype)) {
    const Axes &x = inputs[0].view.axes, &matrix = inputs[1].view.axes;
    const Axes row = intersect(matrix, x);
    k_ = row.elements();
    m_ = x.elements() / k_;
    n_ = matrix.elements() / k_;
    out_first_ = !row.contains(matrix[0].name);
    scales_lines_ = inputs[2].view.axes.contains(matrix[0].name);
    const int64_t most = kPanelBytes / (k_ * element_) / kNarrowestPanel * kNarrowestPanel;
    panel_ = std::min(n_, std::max(most, kNarrowestPanel));
    products_[0].emplace(c.products, shape(panel_), request.small_m);
    products_[1].emplace(c.products, shape(n_ - (ceil_div(n_, panel_) - 1) * panel_),
                         request.small_m);
  }

  int64_t workspace_bytes() const override {
    const int threads = context.pool.threads();
    return panel_bytes() + threads * stretch_bytes() +
           static_cast<int64_t>(std::max(products_[0]->run_scratch_bytes(threads),
                                         products_[1]->run_scratch_bytes(threads)));
  }

  void run(const void* const* in, void* const* out, void* workspace) const override {
    auto* const panel = static_cast<std::byte*>(workspace);
    std::byte* const stretches = panel + panel_bytes();
    std::byte* const scratch = stretches + context.pool.threads() * stretch_bytes();
    for (int64_t first = 0; first < n_; first += panel_) {
      const int64_t columns = std::min(panel_, n_ - first);
      expand(static_cast<const int8_t*>(in[1]), floats(in[2]), first, columns, panel, stretches);
      products_[first + columns == n_ ? 1 : 0]->run(
          context.pool, {in[0], panel}, floats(out[0]) + first, Store::kOverwrite, scratch);
    }
  }

 private:
  ProductShape shape(int64_t columns) const {
    return {.m = m_,
            .n = columns,
            .k = k_,
            .a_row = k_,
            .a_col = 1,
            .b_row = out_first_ ? 1 : columns,
            .b_col = out_first_ ? k_ : 1,
            .c_row = n_,
            .factors = inputs[0].dtype};
  }
  int64_t panel_bytes() const { return align64(panel_ * k_ * element_); }
  static int64_t stretch_bytes() { return kStretch * static_cast<int64_t>(sizeof(float)); }

  /// The columns of a panel, as they lie in memory: lines of the matrix, or a part of each line.
  void expand(const int8_t* values, const float* scale, int64_t first, int64_t columns,
              std::byte* panel, std::byte* stretches) const {
    const int64_t lines = out_first_ ? columns : k_, width = out_first_ ? k_ : columns;
    const int64_t stride = out_first_ ? k_ : n_;
    const int64_t line0 = out_first_ ? first : 0, at0 = out_first_ ? 0 : first;
    const int64_t pieces = ceil_div(width, kStretch);
    const int64_t together = std::max<int64_t>(1, kTaskElements / std::min(width, kStretch));
    context.pool.parallel_for(ceil_div(lines * pieces, together), [&](int64_t task, int worker) {
      auto* const wide = reinterpret_cast<float*>(stretches + worker * stretch_bytes());
      for (int64_t i = task * together; i < std::min((task + 1) * together, lines * pieces); ++i) {
        const int64_t line = i / pieces, at = i % pieces * kStretch;
        const int64_t count = std::min(kStretch, width - at);
        const int8_t* const from = values + (line0 + line) * stride + at0 + at;
        const float* const by = scale + (scales_lines_ ? line0 + line : at0 + at);
        std::byte* const to = panel + (line * width + at) * element_;
        expand_stretch(from, by, count, wide, to);
      }
    });
  }

  void expand_stretch(const int8_t* from, const float* scale, int64_t count, float* wide,
                      std::byte* to) const {
    const bool is_f32 = inputs[0].dtype == DType::f32;
    float* const y = is_f32 ? reinterpret_cast<float*>(to) : wide;
    context.vector.widen_int8(y, from, count);
    context.vector.binary[static_cast<size_t>(Map::kMul)](y, y, 1, scale, scales_lines_ ? 0 : 1,
                                                          count);
    if (!is_f32) context.vector.narrow(reinterpret_cast<uint16_t*>(to), y, count);
  }

  int64_t element_, m_ = 0, n_ = 0, k_ = 0;
  int64_t panel_ = 0;                            ///< columns
  bool out_first_ = false;                       ///< the matrix lies as [n, k]
  bool scales_lines_ = false;                    ///< a scale is of what lies together in memory
  std::array<std::optional<Gemm>, 2> products_;  ///< of a panel, and of the last
};

bool multiplies(const Node&, std::span<const Type> in) {
  return in[0].elements() > 0 && in[1].elements() > 0;
}

}  // namespace

extern const CpuKernelEntry quantized_dot_entry;
const CpuKernelEntry quantized_dot_entry = {{.op = &ops::quantized_dot_entry,
                                             .make = make<QuantizedDotKernel>,
                                             .supports = multiplies,
                                             .packs_inputs = true,
                                             .bf16 = true}};

}  // namespace levanter::cpu

// Rows multiplied by the weight of their group, and the gradients of the weights: rows sorted by
// group, tile products over rows that are gathered together, the last tile of a group filled up
// with zeros.
// Plain twin: src/ops/composite/grouped_dot.cpp.
#include <cstring>

#include "base/error.h"
#include "kernels/cpu/kernel.h"
#include "kernels/shared/grouped_rows.h"
#include "ops/entries.h"

namespace levanter::cpu {

namespace {

constexpr int64_t kTileRows = 64;  ///< rows of one group that are multiplied together
constexpr int64_t kColumns = 256;  ///< columns of a task, or rows of a weight's gradient

/// A matrix product by columns: [kTileRows, k] times columns of [k, n], or of its transpose.
struct Blocks {
  int64_t size = 0;             ///< columns in all
  const Product *whole, *last;  ///< of a block of kColumns, of the last block
  int64_t count() const { return ceil_div(size, kColumns); }
  int64_t first(int64_t block) const { return block * kColumns; }
  int64_t columns(int64_t block) const { return std::min(kColumns, size - first(block)); }
  const Product& at(int64_t block) const { return block + 1 == count() ? *last : *whole; }
  int64_t scratch_bytes() const {
    return align64(static_cast<int64_t>(std::max(whole->scratch_bytes(), last->scratch_bytes())));
  }
};

/// Compiles the products of blocks; `shape` gives the one for a number of columns.
template <class Shape>
Blocks blocks_of(Products& products, int64_t size, Shape shape) {
  const int64_t last = size - (ceil_div(size, kColumns) - 1) * kColumns;
  return {size, &products.get(shape(std::min(size, kColumns))), &products.get(shape(last))};
}

/// The rows by group, and the tiles that they make.
struct Sorted {
  int32_t* rows;    ///< [row count], grouped, in their own order inside a group
  int32_t* begins;  ///< [groups + 1], where each group's rows begin
  int32_t* tiles;   ///< [groups + 1], how many tiles the groups before have

  static int64_t bytes(int64_t rows, int64_t groups) {
    return align64(4 * rows) + 2 * align64(4 * (groups + 1));
  }
};

/// What both kernels share: rows, their groups, elements of 2 or 4 bytes.
class GroupedKernel : public CpuKernel {
 public:
  GroupedKernel(Context& c, const KernelRequest& request, int64_t groups)
      : CpuKernel(c, request),
        rows_(inputs[1].view.axes.elements()),
        groups_(groups),
        element_(size_of(inputs[0].dtype)) {
    LEV_CHECK(rows_ < INT32_MAX, "too many rows for one grouped product");
  }

 protected:
  /// The group of the r-th row of `x` is that of `repeats` rows of groups: x lacks the last axes.
  int64_t repeats(const Axes& x) const { return without(inputs[1].view.axes, x).elements(); }

  Sorted sort(const int32_t* group, void* scratch) const {
    auto* at = static_cast<std::byte*>(scratch);
    Sorted s{reinterpret_cast<int32_t*>(at), reinterpret_cast<int32_t*>(at + align64(4 * rows_)),
             reinterpret_cast<int32_t*>(at + align64(4 * rows_) + align64(4 * (groups_ + 1)))};
    std::fill_n(s.begins, groups_ + 1, 0);
    const auto is_one = [&](int64_t r) { return group[r] >= 0 && group[r] < groups_; };
    for (int64_t r = 0; r < rows_; ++r)
      if (is_one(r)) ++s.begins[group[r]];
    int32_t total = 0;
    s.tiles[0] = 0;
    for (int64_t g = 0; g <= groups_; ++g) {
      const int32_t count = g < groups_ ? s.begins[g] : 0;
      if (g < groups_)
        s.tiles[g + 1] = s.tiles[g] + static_cast<int32_t>(ceil_div(count, kTileRows));
      total += count;
      s.begins[g] = total;  // its end, until filling from the back moves it to its beginning
    }
    for (int64_t r = rows_; r-- > 0;)
      if (is_one(r)) s.rows[--s.begins[group[r]]] = static_cast<int32_t>(r);
    return s;
  }

  /// Copies `count` rows' columns [first, first + width) of [.., stride] together; 0 after them.
  void gather(std::byte* to, const void* from, const int32_t* rows, int64_t count, int64_t repeat,
              int64_t stride, int64_t first, int64_t width) const {
    const auto bytes = static_cast<size_t>(width * element_);
    const auto* source = static_cast<const std::byte*>(from);
    for (int64_t i = 0; i < count; ++i)
      std::memcpy(to + i * width * element_,
                  source + ((rows[i] / repeat) * stride + first) * element_, bytes);
    std::memset(to + count * width * element_, 0,
                static_cast<size_t>((kTileRows - count) * width * element_));
  }

  int64_t rows_, groups_, element_;
};

class GroupedDotKernel final : public GroupedKernel {
 public:
  GroupedDotKernel(Context& c, const KernelRequest& request)
      : GroupedKernel(c, request, static_cast<int64_t>(request.inputs.size()) - 2) {
    const Axes& weight = inputs[2].view.axes;
    const Axes row = intersect(weight, inputs[0].view.axes);
    k_ = row.elements();
    const int64_t n = weight.elements() / k_;
    by_columns_ = weight.size() > 0 && row.contains(weight[weight.size() - 1].name);  // [n, k]
    blocks_ = blocks_of(c.products, n, [&](int64_t columns) {
      return ProductShape{.m = kTileRows,
                          .n = columns,
                          .k = k_,
                          .a_row = k_,
                          .b_row = by_columns_ ? 1 : n,
                          .b_col = by_columns_ ? k_ : 1,
                          .c_row = columns,
                          .factors = inputs[0].dtype};
    });
  }

  int64_t workspace_bytes() const override {
    return Sorted::bytes(rows_, groups_) + context.pool.threads() * worker_bytes();
  }

  void run(const void* const* in, void* const* out, void* workspace) const override {
    const auto* group = static_cast<const int32_t*>(in[1]);
    const Sorted s = sort(group, workspace);
    auto* scratch = static_cast<std::byte*>(workspace) + Sorted::bytes(rows_, groups_);
    const int64_t n = blocks_.size, repeat = repeats(inputs[0].view.axes);
    for (int64_t r = 0; r < rows_; ++r)
      if (group[r] < 0 || group[r] >= groups_) std::fill_n(floats(out[0]) + r * n, n, 0.0f);
    context.pool.parallel_for(s.tiles[groups_] * blocks_.count(), [&](int64_t task, int worker) {
      const auto tile = static_cast<int32_t>(task / blocks_.count());
      const int64_t block = task % blocks_.count(), columns = blocks_.columns(block);
      const int64_t g = std::upper_bound(s.tiles, s.tiles + groups_ + 1, tile) - s.tiles - 1;
      const int64_t first = s.begins[g] + (tile - s.tiles[g]) * kTileRows;
      const int64_t count = std::min<int64_t>(kTileRows, s.begins[g + 1] - first);
      std::byte* const a = scratch + worker * worker_bytes();
      auto* const c = reinterpret_cast<float*>(a + align64(kTileRows * k_ * element_));
      gather(a, in[0], s.rows + first, count, repeat, k_, 0, k_);
      const int64_t at = blocks_.first(block) * (by_columns_ ? k_ : 1);
      const auto* b = static_cast<const std::byte*>(in[g + 2]) + at * element_;
      blocks_.at(block).run(worker, a, b, c, c + kTileRows * kColumns);
      for (int64_t i = 0; i < count; ++i)
        std::memcpy(floats(out[0]) + s.rows[first + i] * n + blocks_.first(block), c + i * columns,
                    static_cast<size_t>(columns) * sizeof(float));
    });
  }

 private:
  int64_t worker_bytes() const {
    return align64(kTileRows * k_ * element_) + 4 * kTileRows * kColumns + blocks_.scratch_bytes();
  }

  int64_t k_ = 0;
  bool by_columns_ = false;
  Blocks blocks_{};
};

/// A group's gradient is the sum over its tiles, in order, of rows^T cotangents.
class GroupedOuterKernel final : public GroupedKernel {
 public:
  GroupedOuterKernel(Context& c, const KernelRequest& request)
      : GroupedKernel(c, request, static_cast<int64_t>(request.outputs.size())) {
    const Axes& weight = outputs[0].view.axes;
    const bool x_first = inputs[0].view.axes.contains(weight[0].name);
    first_ = x_first ? 0 : 2;
    last_ = x_first ? 2 : 0;
    n_ = intersect(weight, inputs[last_].view.axes).elements();
    blocks_ = blocks_of(c.products, weight.elements() / n_, [&](int64_t m) {
      return ProductShape{.m = m,
                          .n = n_,
                          .k = kTileRows,
                          .a_row = 1,
                          .a_col = m,
                          .b_row = n_,
                          .c_row = n_,
                          .factors = inputs[0].dtype};
    });
  }

  int64_t workspace_bytes() const override {
    return Sorted::bytes(rows_, groups_) + context.pool.threads() * worker_bytes();
  }

  void run(const void* const* in, void* const* out, void* workspace) const override {
    const Sorted s = sort(static_cast<const int32_t*>(in[1]), workspace);
    auto* scratch = static_cast<std::byte*>(workspace) + Sorted::bytes(rows_, groups_);
    const int64_t left = repeats(inputs[first_].view.axes),
                  right = repeats(inputs[last_].view.axes);
    context.pool.parallel_for(groups_ * blocks_.count(), [&](int64_t task, int worker) {
      const int64_t g = task / blocks_.count(), block = task % blocks_.count();
      const int64_t m = blocks_.columns(block);
      float* const sum = floats(out[g]) + blocks_.first(block) * n_;
      std::fill_n(sum, m * n_, 0.0f);
      std::byte* const a = scratch + worker * worker_bytes();
      std::byte* const b = a + align64(kTileRows * kColumns * element_);
      auto* const c = reinterpret_cast<float*>(b + align64(kTileRows * n_ * element_));
      for (int64_t at = s.begins[g]; at < s.begins[g + 1]; at += kTileRows) {
        const int64_t count = std::min<int64_t>(kTileRows, s.begins[g + 1] - at);
        gather(a, in[first_], s.rows + at, count, left, blocks_.size, blocks_.first(block), m);
        gather(b, in[last_], s.rows + at, count, right, n_, 0, n_);
        blocks_.at(block).run(worker, a, b, c, c + align64(4 * kColumns * n_) / 4);
        context.vector.add_to(sum, c, m * n_);
      }
    });
  }

 private:
  int64_t worker_bytes() const {
    return align64(kTileRows * kColumns * element_) + align64(kTileRows * n_ * element_) +
           align64(4 * kColumns * n_) + blocks_.scratch_bytes();
  }

  size_t first_ = 0, last_ = 2;
  int64_t n_ = 0;
  Blocks blocks_{};
};

}  // namespace

extern const CpuKernelEntry grouped_dot_entry;
const CpuKernelEntry grouped_dot_entry = {{.op = &ops::grouped_dot_entry,
                                           .make = make<GroupedDotKernel>,
                                           .supports = kernels::takes_grouped_dot,
                                           .packs_inputs = true,
                                           .bf16 = true},
                                          {.op = &ops::grouped_outer_entry,
                                           .make = make<GroupedOuterKernel>,
                                           .supports = kernels::takes_grouped_outer,
                                           .packs_inputs = true,
                                           .bf16 = true}};

}  // namespace levanter::cpu

// Rows multiplied by the weight of their group, and the gradients of the weights: three kernels,
// of which the first two list the rows by group on the card, so that the host never asks.
#include <algorithm>
#include <array>
#include <memory>

#include "base/error.h"
#include "base/integers.h"
#include "base/strings.h"
#include "kernels/cuda/kernel.h"
#include "kernels/shared/grouped_rows.h"

namespace levanter::cuda {

namespace {

/// An input as kernels take it, without gaps: where it lies, or a copy.
class DenseInput final {
 public:
  DenseInput(Context& c, const ArrayInfo& info)
      : offset_bytes_(info.view.offset * size_of(info.dtype)), element_(size_of(info.dtype)) {
    if (info.view.is_contiguous()) return;
    copy_ = std::make_unique<CopyFunction>(c, info.dtype, info.view.axes, info.view,
                                           View::row_major(info.view.axes));
    copy_bytes_ = aligned(info.bytes());
    offset_bytes_ = 0;
  }
  int64_t copy_bytes() const { return copy_bytes_; }
  /// Whether rows of so many elements are whole pieces of 16 bytes.
  bool is_in_chunks(int64_t row) const {
    return offset_bytes_ % 16 == 0 && row * element_ % 16 == 0;
  }
  /// Where it is; a copy takes the scratch's first bytes.
  const void* prepare(const void* from, std::byte*& scratch) const {
    if (!copy_) return from;
    std::byte* const to = scratch;
    scratch += copy_bytes_;
    copy_->run(from, to);
    return to;
  }

 private:
  std::unique_ptr<CopyFunction> copy_;
  int64_t copy_bytes_ = 0, offset_bytes_, element_;
};

std::string kernel_name(const char* name, DType dtype) {
  return cat(name, dtype == DType::bf16 ? "_bf16" : "_f32");
}

/// What both kernels share: the rows, listed by group.
class GroupedKernel : public CudaKernel {
 public:
  GroupedKernel(Context& c, const KernelRequest& request, size_t groups, const char* name)
      : CudaKernel(c, request),
        count_(c, "grouped_dot", "grouped_count"),
        list_(c, "grouped_dot", "grouped_list"),
        multiply_(c, "grouped_dot", kernel_name(name, inputs[0].dtype)) {
    for (const ArrayInfo& input : inputs) dense_.emplace_back(c, input);
    const int64_t rows = inputs[1].view.axes.elements();
    LEV_CHECK(rows < INT32_MAX / 2, "too many rows for one grouped product");
    GroupList& list = arguments_.list;
    list.row_count = static_cast<int>(rows);
    list.groups = static_cast<int>(groups);
    // Each group fills up its last tile, and has none without a row.
    const int64_t kinds = std::min(static_cast<int64_t>(groups) + 1, rows);
    list.tiles = static_cast<int>((rows + kinds * (kGroupTile - 1)) / kGroupTile);
  }

  int64_t workspace_bytes() const final {
    int64_t bytes = 0;
    for (const int64_t count : list_counts()) bytes += aligned(4 * count);
    for (const DenseInput& input : dense_) bytes += input.copy_bytes();
    return bytes;
  }

 protected:
  /// The r-th row of `x` stands for so many rows of groups: x lacks their last axes.
  int repeats(const Axes& x) const {
    return static_cast<int>(without(inputs[1].view.axes, x).elements());
  }

  /// Enqueues what lists the rows; the inputs without gaps, and the list, are in the result.
  struct Prepared {
    std::vector<const void*> in;
    GroupedArguments arguments;
  };
  Prepared prepare(const void* const* in, void* workspace) const {
    auto* scratch = static_cast<std::byte*>(workspace);
    Prepared prepared{{}, arguments_};
    GroupList& list = prepared.arguments.list;
    const auto counts = list_counts();
    int** const places[] = {&list.counts, &list.first_tiles, &list.tile_groups, &list.rows};
    for (size_t i = 0; i < counts.size(); ++i) {
      *places[i] = reinterpret_cast<int*>(scratch);
      scratch += aligned(4 * counts[i]);
    }
    for (size_t i = 0; i < dense_.size(); ++i)
      prepared.in.push_back(dense_[i].prepare(in[i], scratch));
    list.group = static_cast<const int*>(prepared.in[1]);
    for (const Function* function : {&count_, &list_})
      function->launch({{list.groups + 1, 1, 1}, GroupList::kThreads}, list);
    return prepared;
  }

  Function count_, list_, multiply_;
  std::vector<DenseInput> dense_;  ///< by input
  GroupedArguments arguments_{};

 private:
  /// Of counts, first tiles, groups of tiles and rows.
  std::array<int64_t, 4> list_counts() const {
    const int64_t groups = arguments_.list.groups, tiles = arguments_.list.tiles;
    return {groups + 1, groups + 2, tiles, tiles * kGroupTile};
  }
};

class GroupedDotKernel final : public GroupedKernel {
 public:
  GroupedDotKernel(Context& c, const KernelRequest& request)
      : GroupedKernel(c, request, request.inputs.size() - 2,
                      is_turned(request) ? "grouped_dot_turned" : "grouped_dot") {
    const Axes& weight = inputs[2].view.axes;
    const int64_t depth = intersect(weight, inputs[0].view.axes).elements();
    const int64_t n = weight.elements() / depth, row = is_turned(request) ? depth : n;
    arguments_.depth = static_cast<int>(depth);
    arguments_.n = static_cast<int>(n);
    arguments_.left_repeat = repeats(inputs[0].view.axes);
    arguments_.left_in_chunks = dense_[0].is_in_chunks(depth);
    arguments_.right_in_chunks =
        std::all_of(dense_.begin() + 2, dense_.end(),
                    [&](const DenseInput& input) { return input.is_in_chunks(row); });
  }

  void run(const void* const* in, void* const* out, void* workspace) const override {
    const Prepared prepared = prepare(in, workspace);
    GroupedArguments arguments = prepared.arguments;
    arguments.left = prepared.in[0];
    arguments.y = static_cast<float*>(out[0]);
    for (size_t g = 0; g + 2 < prepared.in.size(); ++g)
      arguments.weights[g] = const_cast<void*>(prepared.in[g + 2]);
    multiply_.launch({{arguments.list.tiles * ceil_div(arguments.n, kGroupTile), 1, 1}}, arguments);
  }

 private:
  /// Whether the weights are [n, depth].
  static bool is_turned(const KernelRequest& request) {
    const Axes& weight = request.inputs[2].view.axes;
    return request.inputs[0].view.axes.contains(weight[weight.size() - 1].name);
  }
};

class GroupedOuterKernel final : public GroupedKernel {
 public:
  GroupedOuterKernel(Context& c, const KernelRequest& request)
      : GroupedKernel(c, request, request.outputs.size(), "grouped_outer") {
    const Axes& weight = outputs[0].view.axes;
    if (!inputs[0].view.axes.contains(weight[0].name)) std::swap(left_, right_);
    const int64_t n = intersect(weight, inputs[right_].view.axes).elements();
    const int64_t m = weight.elements() / n;
    arguments_.m = static_cast<int>(m);
    arguments_.n = static_cast<int>(n);
    arguments_.left_repeat = repeats(inputs[left_].view.axes);
    arguments_.right_repeat = repeats(inputs[right_].view.axes);
    arguments_.left_in_chunks = dense_[left_].is_in_chunks(m);
    arguments_.right_in_chunks = dense_[right_].is_in_chunks(n);
  }

  void run(const void* const* in, void* const* out, void* workspace) const override {
    const Prepared prepared = prepare(in, workspace);
    GroupedArguments arguments = prepared.arguments;
    arguments.left = prepared.in[left_];
    arguments.right = prepared.in[right_];
    for (size_t g = 0; g < outputs.size(); ++g) arguments.weights[g] = out[g];
    const int64_t tiles = ceil_div(arguments.m, kGroupTile) * ceil_div(arguments.n, kGroupTile);
    multiply_.launch({{arguments.list.groups * tiles, 1, 1}}, arguments);
  }

 private:
  size_t left_ = 0, right_ = 2;  ///< inputs; the weight's first axes are the left one's
};

bool is_small(std::span<const Type> in, size_t groups) {
  return groups <= GroupedArguments::kMostGroups && in[0].dtype != DType::f64 &&
         std::all_of(in.begin(), in.end(), [](const Type& type) {
           return type.elements() > 0 && type.elements() < INT32_MAX;
         });
}
bool takes(const Node& node, std::span<const Type> in) {
  return is_small(in, in.size() - 2) && kernels::takes_grouped_dot(node, in);
}
bool takes_outer(const Node& node, std::span<const Type> in) {
  return is_small(in, node.outputs.size()) && kernels::takes_grouped_outer(node, in);
}

}  // namespace

extern const CudaKernelEntry grouped_dot_entry;
const CudaKernelEntry grouped_dot_entry = {
    {{&ops::grouped_dot_entry, make<GroupedDotKernel>, nullptr, takes},
     {&ops::grouped_outer_entry, make<GroupedOuterKernel>, nullptr, takes_outer}}};

}  // namespace levanter::cuda

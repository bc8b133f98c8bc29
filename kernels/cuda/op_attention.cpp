// Attention and its gradients: named axes to strides, then the kernels of one element type and
// depth.
#include <algorithm>
#include <optional>

#include "base/error.h"
#include "base/integers.h"
#include "base/strings.h"
#include "kernels/cuda/kernel.h"
#include "kernels/cuda/sdpa_kernel.h"
#include "kernels/shared/attention_shape.h"
#include "ops/composite/attention.h"

namespace levanter::cuda {

namespace {

constexpr int kDepths[] = {32, 64, 128, 256};  // as the files kernels/cuda/device/attention_*.cu
constexpr int kNoWindow = 1 << 30;             // more than any number of keys, and no overflow
constexpr int64_t kChunkBytes = 16;
constexpr int64_t kRowsOfBlock = kThreads / 32;  // of attention_rows.cu: a warp each

/// The depth whose kernels take rows of head_dim; 0 for none.
int depth_of(int64_t head_dim) {
  for (const int depth : kDepths)
    if (head_dim <= depth) return depth;
  return 0;
}

bool supports(const Node& node, std::span<const Type> in) {
  const DType dtype = in[0].dtype;
  return (dtype == DType::f32 || dtype == DType::bf16) &&
         depth_of(in[0].axes.size_of("head_dim")) && kernels::takes_attention(node, in);
}

/// Whether rows of head_dim come and go in chunks, if the array begins at one.
bool lies_in_chunks(const ArrayInfo& array) {
  const int64_t chunk = kChunkBytes / size_of(array.dtype);
  const View& view = array.view;
  if (view.axes.size_of("head_dim") % chunk != 0 || stride_of(view, "head_dim") != 1) return false;
  for (const Axis& axis : view.axes)
    if (axis.name != AxisName("head_dim") && axis.size > 1 &&
        stride_of(view, axis.name) % chunk != 0)
      return false;
  return true;
}

AttentionArray attention_array(const ArrayInfo& array) {
  const View& view = array.view;
  const AxisName position = view.axes.contains("position") ? "position" : "key_position";
  AttentionArray made{};
  made.batch = stride_of(view, "batch");
  made.head = stride_of(view, "kv_head");
  made.group = stride_of(view, "q_group");
  made.position = stride_of(view, position);
  made.dim = stride_of(view, "head_dim");
  made.in_chunks = view.axes.contains("head_dim") && lies_in_chunks(array);
  return made;
}

void place(AttentionArray& array, const void* data) {
  array.data = const_cast<void*>(data);
  array.in_chunks = array.in_chunks &&
                    reinterpret_cast<uintptr_t>(data) % static_cast<uintptr_t>(kChunkBytes) == 0;
}

/// What both passes do.
class AttentionKernel : public CudaKernel {
 protected:
  AttentionKernel(Context& c, const KernelRequest& request)
      : CudaKernel(c, request), options_(AttentionAttributes::of(attributes)) {
    const kernels::AttentionShape shape = kernels::attention_shape(attributes, inputs);
    LEV_CHECK(shape.queries < kNoWindow / 2 && shape.keys < kNoWindow / 2,
              "attention over more positions than the cuda backend counts");
    AttentionArguments& a = arguments_;
    a.q = attention_array(inputs[0]);
    a.k = attention_array(inputs[1]);
    a.v = attention_array(inputs[2]);
    if (options_.has_segments) {
      a.segments_batch = stride_of(inputs[3].view, "batch");
      a.segments_position = stride_of(inputs[3].view, "position");
    }
    if (options_.has_positions) {
      a.positions_batch = stride_of(inputs[3].view, "batch");
      a.positions_position = stride_of(inputs[3].view, "position");
    }
    if (options_.has_keys) {
      const View& keys = inputs[options_.operands() - 1].view;
      a.dropout_batch = stride_of(keys, "batch");
      a.dropout_word = stride_of(keys, key_word().name);
    }
    a.batch = static_cast<int>(shape.batch);
    a.heads = static_cast<int>(shape.kv_heads);
    a.groups = static_cast<int>(shape.heads / shape.kv_heads);
    a.queries = static_cast<int>(shape.queries);
    a.keys = static_cast<int>(shape.keys);
    a.head_dim = static_cast<int>(shape.head_dim);
    a.ahead = static_cast<int>(shape.causal ? shape.keys - shape.queries : shape.keys);
    a.window =
        shape.window > 0 ? static_cast<int>(std::min<int64_t>(shape.window, kNoWindow)) : kNoWindow;
    a.pieces = 1;
    a.scale = shape.scale;
    a.soft_cap = shape.soft_cap;
    a.keep = shape.keep;
    a.score_factor = shape.soft_cap > 0 ? shape.scale / shape.soft_cap : shape.scale;
    a.kept_factor = 1 / shape.keep;
    a.element = element_of(inputs[0].dtype);
  }

  AttentionArguments with_inputs(const void* const* in) const {
    AttentionArguments a = arguments_;
    place(a.q, in[0]);
    place(a.k, in[1]);
    place(a.v, in[2]);
    if (options_.has_segments) a.segments = static_cast<const int*>(in[3]);
    if (options_.has_positions) a.positions = static_cast<const int*>(in[3]);
    if (options_.has_keys)
      a.dropout_keys = static_cast<const unsigned*>(in[options_.operands() - 1]);
    return a;
  }

  /// A kernel of the operands' element type and depth.
  struct PassFunction {
    Function function;
    Grid grid;
    PassFunction(const AttentionKernel& of, AttentionPass pass, const char* name)
        : function(of.context, cat("attention_", of.variant()).c_str(),
                   cat("attention_", name, "_", of.variant())) {
      const AttentionArguments& a = of.arguments_;
      const AttentionTiles tiles = attention_tiles(pass, depth_of(a.head_dim),
                                                   static_cast<int>(size_of(of.inputs[0].dtype)));
      const bool owns_keys = pass == AttentionPass::kKeys;
      const int64_t heads = int64_t{a.batch} * a.heads * (owns_keys ? 1 : a.groups);
      grid = {{ceil_div<int64_t>(owns_keys ? a.keys : a.queries, tiles.own) * heads, 1, 1},
              tiles.threads,
              tiles.shared_bytes};
    }
    void run(const AttentionArguments& arguments) const {
      Grid in_pieces = grid;
      in_pieces.blocks[1] = arguments.pieces;
      function.launch(in_pieces, arguments);
    }
  };

  const AttentionAttributes options_;
  AttentionArguments arguments_{};

 private:
  std::string variant() const {
    return cat(name_of(inputs[0].dtype), "_", depth_of(arguments_.head_dim));
  }
};

/// Queries of all heads.
int64_t rows_of(const ArrayInfo& lse) { return lse.view.axes.elements(); }

class ForwardKernel final : public AttentionKernel {
 public:
  ForwardKernel(Context& c, const KernelRequest& request)
      : AttentionKernel(c, request), forward_(*this, AttentionPass::kForward, "forward") {
    arguments_.o = attention_array(outputs[0]);
    arguments_.lse = attention_array(outputs[1]);
    // Few queries of many keys are blocks enough for a card only in pieces of the keys.
    if (options_.has_positions && arguments_.queries <= kFewQueries)
      arguments_.pieces = ceil_div(arguments_.keys, AttentionArguments::kPieceKeys);
    if (arguments_.pieces > 1) plan_pieces();
  }
  int64_t workspace_bytes() const override {
    if (arguments_.pieces == 1) return 0;
    return arguments_.pieces * (arguments_.piece_sums_stride + arguments_.piece_norms_stride) *
           size_of(DType::f32);
  }

  void run(const void* const* in, void* const* out, void* workspace) const override {
    AttentionArguments a = with_inputs(in);
    place(a.o, out[0]);
    place(a.lse, out[1]);
    if (a.pieces > 1) {
      place(a.piece_sums, workspace);
      place(a.piece_norms, static_cast<float*>(workspace) + a.pieces * a.piece_sums_stride);
    }
    forward_.run(a);
    if (a.pieces > 1) join_->launch({{ceil_div(rows_of(outputs[1]), kRowsOfBlock), 1, 1}}, a);
  }

 private:
  static constexpr int kFewQueries = 16;

  void plan_pieces() {
    Axes norms = outputs[1].view.axes;
    norms.push_back({"head_dim", 2});
    const auto dense = [](const Axes& axes) {
      return attention_array({DType::f32, View::row_major(axes), {}});
    };
    arguments_.piece_sums = dense(outputs[0].view.axes);
    arguments_.piece_norms = dense(norms);
    arguments_.piece_sums_stride = outputs[0].view.axes.elements();
    arguments_.piece_norms_stride = norms.elements();
    join_.emplace(context, "attention_rows", "attention_join");
  }

  PassFunction forward_;
  std::optional<Function> join_;
};

class StatisticsKernel final : public AttentionKernel {
 public:
  StatisticsKernel(Context& c, const KernelRequest& request)
      : AttentionKernel(c, request), function_(c, "attention_rows", "attention_statistics") {
    arguments_.entropy = attention_array(outputs[0]);
    arguments_.largest = attention_array(outputs[1]);
  }

  void run(const void* const* in, void* const* out, void*) const override {
    AttentionArguments a = with_inputs(in);
    place(a.entropy, out[0]);
    place(a.largest, out[1]);
    function_.launch({{ceil_div(rows_of(outputs[0]), kRowsOfBlock), 1, 1}}, a);
  }

 private:
  Function function_;
};

class BackwardKernel final : public AttentionKernel {
 public:
  BackwardKernel(Context& c, const KernelRequest& request)
      : AttentionKernel(c, request),
        first_(options_.operands()),
        delta_(c, "attention_rows", "attention_delta"),
        keys_(*this, AttentionPass::kKeys, "keys"),
        queries_(*this, AttentionPass::kQueries, "queries") {
    AttentionArguments& a = arguments_;
    a.o = attention_array(inputs[first_]);
    a.lse = attention_array(inputs[first_ + 1]);
    a.d_o = attention_array(inputs[first_ + 2]);
    a.dq = attention_array(outputs[0]);
    a.dk = attention_array(outputs[1]);
    a.dv = attention_array(outputs[2]);
    a.delta = attention_array({DType::f32, View::row_major(inputs[first_ + 1].view.axes), {}});
  }
  int64_t workspace_bytes() const override { return rows() * size_of(DType::f32); }

  void run(const void* const* in, void* const* out, void* workspace) const override {
    AttentionArguments a = with_inputs(in);
    place(a.o, in[first_]);
    place(a.lse, in[first_ + 1]);
    place(a.d_o, in[first_ + 2]);
    place(a.dq, out[0]);
    place(a.dk, out[1]);
    place(a.dv, out[2]);
    place(a.delta, workspace);
    delta_.launch({{ceil_div(rows(), kRowsOfBlock), 1, 1}}, a);
    keys_.run(a);
    queries_.run(a);
  }

 private:
  int64_t rows() const { return rows_of(inputs[first_ + 1]); }

  size_t first_;  ///< input of those that attention lacks: o, lse, do
  Function delta_;
  PassFunction keys_, queries_;
};

/// By cuDNN where it has a plan, else by kernels of ours: what keeps lse may differ from what reads
/// it, since it means the same to both.
template <class Ours>
std::unique_ptr<Kernel> make_attention(Context& context, const KernelRequest& request) {
  std::unique_ptr<Kernel> kernel = make_sdpa_kernel(context, request);
  return kernel ? std::move(kernel) : make<Ours>(context, request);
}

}  // namespace

extern const CudaKernelEntry attention_entry;
const CudaKernelEntry attention_entry = {
    {{&ops::attention_entry, make_attention<ForwardKernel>, always, supports},
     {&ops::attention_statistics_entry, make<StatisticsKernel>, always, supports},
     {&ops::attention_grad_entry, make_attention<BackwardKernel>, always, supports}}};

}  // namespace levanter::cuda

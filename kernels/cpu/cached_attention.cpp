// Attention to the keys of a cache, as two products of few rows with the softmax between them.
// Plain twin: src/ops/composite/attention.cpp.
#include "kernels/cpu/cached_attention.h"

#include <cmath>
#include <cstring>

#include "kernels/cpu/gemm.h"
#include "ops/composite/attention.h"

namespace levanter::cpu {

namespace {

/// A task is at most kSmallM queries of one key head, by position, then by group: two products of
/// few rows, by the keys and by the values, with the softmax between them.
class CachedAttentionKernel final : public CpuKernel {
 public:
  CachedAttentionKernel(Context& c, const KernelRequest& request)
      : CpuKernel(c, request), options_(AttentionAttributes::of(attributes)) {
    const Axes& q = inputs[0].view.axes;
    batch_ = q.size_of("batch");
    heads_ = q.size_of("kv_head");
    groups_ = q.contains("q_group") ? q.size_of("q_group") : 1;
    rows_ = q.size_of("position") * groups_;
    head_dim_ = q.size_of("head_dim");
    keys_ = inputs[1].view.axes.size_of("key_position");
  }

  int64_t workspace_bytes() const override { return context.pool.threads() * worker_bytes(); }

  void run(const void* const* in, void* const* out, void* workspace) const override {
    const int64_t blocks = ceil_div(rows_, kSmallM);
    context.pool.parallel_for(batch_ * heads_ * blocks, [&](int64_t task, int worker) {
      float* scratch = floats(static_cast<std::byte*>(workspace) + worker * worker_bytes());
      const int64_t first = task % blocks * kSmallM;
      Block block{task / blocks / heads_, task / blocks % heads_, first,
                  std::min(kSmallM, rows_ - first)};
      block.values = scratch;
      block.scores = scratch + kSmallM * head_dim_;
      run_block(block, in, out);
    });
  }

 private:
  struct Block {
    int64_t batch, head, first, rows;
    float *values = nullptr,
          *scores = nullptr;  ///< [rows, head_dim]: queries, then results; [rows, keys seen]
  };

  int64_t worker_bytes() const {
    return align64(kSmallM * (head_dim_ + keys_) * static_cast<int64_t>(sizeof(float)));
  }

  /// Where row `row` of the block begins in an array of queries' form.
  int64_t offset(const View& view, const Block& b, int64_t row) const {
    const int64_t r = b.first + row;
    return b.batch * stride_of(view, "batch") + b.head * stride_of(view, "kv_head") +
           r / groups_ * stride_of(view, "position") + r % groups_ * stride_of(view, "q_group");
  }

  void run_block(const Block& b, const void* const* in, void* const* out) const {
    const auto* positions = static_cast<const int32_t*>(in[3]) + b.batch * (rows_ / groups_);
    const auto last_of = [&](int64_t row) {
      return std::min<int64_t>(positions[(b.first + row) / groups_], keys_ - 1);
    };
    const auto first_of = [&](int64_t row) {
      return options_.window > 0 ? std::max<int64_t>(0, last_of(row) - options_.window + 1) : 0;
    };
    int64_t begin = keys_, end = 0;  // of the keys that any row sees
    for (int64_t row = 0; row < b.rows; ++row) {
      if (last_of(row) < 0) continue;
      begin = std::min(begin, first_of(row));
      end = std::max(end, last_of(row) + 1);
    }
    const bool is_bf16 = inputs[0].dtype == DType::bf16;
    for (int64_t row = 0; row < b.rows; ++row)
      read(in[0], offset(inputs[0].view, b, row), b.values + row * head_dim_, is_bf16);
    const int64_t seen = std::max<int64_t>(0, end - begin);
    multiply(b, in[1], inputs[1].view, begin, MatrixOrder::kColumns,
             {.rows = b.rows, .columns = seen, .k = head_dim_, .x = b.values, .y = b.scores});
    float norms[kSmallM];
    for (int64_t row = 0; row < b.rows; ++row) {
      float* lse = floats(out[1]) + offset(outputs[1].view, b, row);
      norms[row] = softmax(b.scores + row * seen, seen, first_of(row) - begin,
                           last_of(row) + 1 - begin, lse);
    }
    multiply(b, in[2], inputs[2].view, begin, MatrixOrder::kRows,
             {.rows = b.rows, .columns = head_dim_, .k = seen, .x = b.scores, .y = b.values});
    for (int64_t row = 0; row < b.rows; ++row) {
      float* values = b.values + row * head_dim_;
      context.vector.scale(values, values, norms[row], head_dim_);
      write(out[0], offset(outputs[0].view, b, row), values, is_bf16);
    }
  }

  /// A product with the keys or values from key `begin` on.
  void multiply(const Block& b, const void* array, const View& view, int64_t begin,
                MatrixOrder order, SmallMProduct product) const {
    const int64_t stride = stride_of(view, "key_position");
    const int64_t at =
        b.batch * stride_of(view, "batch") + b.head * stride_of(view, "kv_head") + begin * stride;
    const bool is_bf16 = inputs[1].dtype == DType::bf16;
    product.x_row = product.k;
    product.y_row = product.columns;
    product.w = static_cast<const std::byte*>(array) + at * size_of(inputs[1].dtype);
    product.w_stride = stride;
    (is_bf16 ? context.vector.small_m_bf16
             : context.vector.small_m)[static_cast<size_t>(order)](product);
  }

  /// Products q.k to exp(score - largest) in [first, last), 0 elsewhere; 1 / their sum, 0 for none.
  float softmax(float* s, int64_t seen, int64_t first, int64_t last, float* lse) const {
    const VectorKernels& v = context.vector;
    if (last <= first) {
      std::fill(s, s + seen, 0.0f);
      *lse = 0;
      return 0;
    }
    std::fill(s, s + first, 0.0f);
    std::fill(s + last, s + seen, 0.0f);
    const int64_t n = last - first;
    s += first;
    const auto cap = static_cast<float>(options_.soft_cap);
    v.scale(s, s, static_cast<float>(options_.scale), n);
    if (cap > 0) {
      v.binary[static_cast<size_t>(Map::kDiv)](s, s, 1, &cap, 0, n);
      v.unary[static_cast<size_t>(Map::kTanh)](s, s, n);
      v.scale(s, s, cap, n);
    }
    const float largest = v.max(s, n);
    v.binary[static_cast<size_t>(Map::kSub)](s, s, 1, &largest, 0, n);
    v.unary[static_cast<size_t>(Map::kExp)](s, s, n);
    const float total = v.sum(s, n);
    *lse = largest + std::log(total);
    return 1 / total;
  }

  void read(const void* array, int64_t at, float* to, bool is_bf16) const {
    if (is_bf16)
      context.vector.widen(to, static_cast<const uint16_t*>(array) + at, head_dim_);
    else
      std::memcpy(to, floats(array) + at, sizeof(float) * static_cast<size_t>(head_dim_));
  }
  void write(void* array, int64_t at, const float* from, bool is_bf16) const {
    if (is_bf16)
      context.vector.narrow(static_cast<uint16_t*>(array) + at, from, head_dim_);
    else
      std::memcpy(floats(array) + at, from, sizeof(float) * static_cast<size_t>(head_dim_));
  }

  AttentionAttributes options_;
  int64_t batch_, heads_, groups_, rows_, head_dim_, keys_;
};

}  // namespace

std::unique_ptr<Kernel> make_cached_attention(Context& context, const KernelRequest& request) {
  return make<CachedAttentionKernel>(context, request);
}

}  // namespace levanter::cpu

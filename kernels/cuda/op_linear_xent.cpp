// The cross entropy of a linear layer, in chunks of tokens (Hsu et al. 2024, arXiv:2410.10989).
#include <algorithm>
#include <mutex>
#include <optional>

#include "base/integers.h"
#include "kernels/cuda/kernel.h"
#include "kernels/cuda/products.h"
#include "ops/composite/attributes.h"

namespace levanter::cuda {

namespace {

/// A chunk has as many tokens as keep its f32 logits below Source::logit_bytes, in steps of this.
constexpr int64_t kChunkStep = 128;
constexpr int64_t kLongRow = 16384;

/// A product of matrices in memory: the library's, or ours where the library has no right one.
class MatrixMultiply final {
 public:
  MatrixMultiply(Context& c, const ProductShape& shape)
      : products_(c.products()), own_(c, "dot", "dot"), shape_(shape) {}

  void run(const void* a, const void* b, void* result, void* workspace) const {
    std::call_once(once_, [&] { found_ = products_.find(shape_, workspace); });
    if (found_) return products_.run(*found_, {.a = a, .b = b, .c = result}, workspace);
    const Axis m{"m", shape_.m}, n{"n", shape_.n}, k{"k", shape_.k};
    const View left = view(m, k, shape_.a), right = view(k, n, shape_.b);
    const View to = view(m, n, shape_.c);
    DotArguments arguments{};
    arguments.batch = make_space({}, {&left, &right, &to});
    arguments.m = make_space({m}, {&left, &to});
    arguments.n = make_space({n}, {&right, &to});
    arguments.k = make_space({k}, {&left, &right});
    arguments.a = a;
    arguments.b = b;
    arguments.c = result;
    arguments.result = element_of(shape_.result);
    arguments.element = element_of(shape_.factors);
    arguments.adds = shape_.adds;
    own_.launch({{ceil_div(shape_.m, kDotTile), ceil_div(shape_.n, kDotTile), 1}}, arguments);
  }

  int64_t first_run_bytes() const { return Products::check_bytes(shape_); }

 private:
  static View view(const Axis& row, const Axis& column, const Matrices& matrices) {
    View view{{row, column}, {}, 0};
    view.strides[matrices.transposed ? 1 : 0] = matrices.pitch;
    view.strides[matrices.transposed ? 0 : 1] = 1;
    return view;
  }

  Products& products_;
  Function own_;
  ProductShape shape_;
  mutable std::once_flag once_;
  mutable const Product* found_ = nullptr;
};

/// h [tokens..., embed], weight [vocab, embed].
bool takes(const Node&, std::span<const Type> in) {
  const Axes &h = in[0].axes, &weight = in[1].axes;
  return weight.size() == 2 && weight[0].name == AxisName("vocab") && !h.empty() &&
         h[h.size() - 1] == weight[1] && h.elements() > 0 && in[0].dtype != DType::f64;
}

class LinearXentKernel final : public CudaKernel {
 public:
  LinearXentKernel(Context& c, const KernelRequest& request)
      : CudaKernel(c, request),
        attributes_(LinearXentAttributes::of(attributes)),
        dtype_(inputs[0].dtype),
        tokens_(inputs[2].view.axes.elements()),
        embed_(inputs[1].view.axes[1].size),
        vocab_(inputs[1].view.axes[0].size),
        pitch_(round_up(vocab_, kAlignment)),
        chunk_(std::clamp(c.logit_bytes() / (4 * pitch_) / kChunkStep * kChunkStep, kChunkStep,
                          round_up(tokens_, kChunkStep))),
        rows_(c, "linear_xent", "xent_rows"),
        sum_(c, "reduce", "reduce_blocks_real") {
    for (size_t i = 0; i < dense_.size(); ++i)
      if (!inputs[i].view.is_contiguous()) dense_[i].emplace(c, inputs[i]);
    if (tokens_ >= chunk_) whole_.emplace(c, *this, chunk_);
    if (tokens_ % chunk_ != 0) rest_.emplace(c, *this, tokens_ % chunk_);
  }

  int64_t workspace_bytes() const override {
    int64_t bytes = Products::kWorkspaceBytes + aligned(tokens_ * 4) + logit_bytes();
    if (dtype_ == DType::bf16 && has_gradients()) bytes += dlogit_bytes();
    for (const std::optional<Copy>& copy : dense_)
      if (copy) bytes += copy->bytes;
    return bytes;
  }

  int64_t first_run_bytes() const override {
    int64_t bytes = 0;
    for (const std::optional<Chunk>* chunk : {&whole_, &rest_})
      if (*chunk) bytes = std::max(bytes, (*chunk)->first_run_bytes());
    return bytes;
  }

  void run(const void* const* in, void* const* out, void* workspace) const override {
    auto* scratch = static_cast<std::byte*>(workspace);
    const auto take = [&](int64_t bytes) {
      std::byte* const taken = scratch;
      scratch += bytes;
      return taken;
    };
    Arrays x;
    x.products = take(Products::kWorkspaceBytes);
    x.terms = reinterpret_cast<float*>(take(aligned(tokens_ * 4)));
    x.logits = take(logit_bytes());
    x.dlogits = x.logits;
    if (dtype_ == DType::bf16 && has_gradients()) x.dlogits = take(dlogit_bytes());
    const void* dense[4] = {in[0], in[1], in[2], in[3]};
    for (size_t i = 0; i < dense_.size(); ++i) {
      if (!dense_[i]) continue;
      std::byte* const copy = take(dense_[i]->bytes);
      dense_[i]->function.run(in[i], copy);
      dense[i] = copy;
    }
    for (int64_t first = 0; first < tokens_; first += chunk_)
      run_chunk(first + chunk_ <= tokens_ ? *whole_ : *rest_, first, dense, out, x);
    add_terms(x.terms, out[0]);
  }

 private:
  /// An input that does not lie without gaps.
  struct Copy {
    Copy(Context& c, const ArrayInfo& info)
        : function(c, info.dtype, info.view.axes, info.view, View::row_major(info.view.axes)),
          bytes(aligned(info.bytes())) {}
    CopyFunction function;
    int64_t bytes;
  };

  /// The products of a chunk of one length.
  struct Chunk {
    Chunk(Context& c, const LinearXentKernel& kernel, int64_t tokens)
        : tokens(tokens),
          logits(
              c,
              {.factors = kernel.dtype_,
               .m = tokens,
               .n = kernel.vocab_,
               .k = kernel.embed_,
               .a = {.pitch = kernel.embed_, .alignment = kernel.alignment(0)},
               .b = {.pitch = kernel.embed_, .transposed = true, .alignment = kernel.alignment(1)},
               .c = {.pitch = kernel.pitch_}}) {
      if (!kernel.has_gradients()) return;
      dh.emplace(c, ProductShape{.factors = kernel.dtype_,
                                 .result = kernel.dtype_,
                                 .m = tokens,
                                 .n = kernel.embed_,
                                 .k = kernel.vocab_,
                                 .a = {.pitch = kernel.pitch_},
                                 .b = {.pitch = kernel.embed_, .alignment = kernel.alignment(1)},
                                 .c = {.pitch = kernel.embed_, .alignment = kernel.alignment(-1)}});
      if (kernel.attributes_.gradients == XentGradients::kHidden) return;
      for (const bool adds : {false, true})
        dweight[adds].emplace(
            c, ProductShape{.factors = kernel.dtype_,
                            .adds = adds,
                            .m = kernel.vocab_,
                            .n = kernel.embed_,
                            .k = tokens,
                            .a = {.pitch = kernel.pitch_, .transposed = true},
                            .b = {.pitch = kernel.embed_, .alignment = kernel.alignment(0)},
                            .c = {.pitch = kernel.embed_}});
    }
    int64_t first_run_bytes() const {
      int64_t bytes = logits.first_run_bytes();
      for (const std::optional<MatrixMultiply>* product : {&dh, &dweight[0], &dweight[1]})
        if (*product) bytes = std::max(bytes, (*product)->first_run_bytes());
      return bytes;
    }
    int64_t tokens;
    MatrixMultiply logits;
    std::optional<MatrixMultiply> dh;
    std::optional<MatrixMultiply> dweight[2];  ///< the first chunk's, and what is added to it
  };

  struct Arrays {
    std::byte *products = nullptr, *logits = nullptr, *dlogits = nullptr;
    float* terms = nullptr;
  };

  bool has_gradients() const { return attributes_.gradients != XentGradients::kNone; }
  int64_t logit_bytes() const { return aligned(std::min(chunk_, tokens_) * pitch_ * 4); }
  int64_t dlogit_bytes() const { return aligned(std::min(chunk_, tokens_) * pitch_ * 2); }

  /// Of a token's block, by the vocabulary alone: long rows are read twice, the second time from
  /// the card's cache where few blocks run at once.
  static int threads_of(int64_t vocab) {
    return vocab < kLongRow ? kThreads : XentArguments::kMostThreads;
  }

  /// Of a chunk's part of an input, and with -1 of dh, in bytes.
  int alignment(int input) const {
    int64_t found = kAlignment;
    const int64_t offset = input < 0 || dense_[static_cast<size_t>(input)]
                               ? 0
                               : inputs[static_cast<size_t>(input)].view.offset;
    while (offset * size_of(dtype_) % found != 0) found /= 2;
    return static_cast<int>(found);
  }

  void run_chunk(const Chunk& chunk, int64_t first, const void* const* in, void* const* out,
                 const Arrays& x) const {
    const int64_t row_bytes = embed_ * size_of(dtype_);
    const auto* const h = static_cast<const std::byte*>(in[0]) + first * row_bytes;
    chunk.logits.run(h, in[1], x.logits, x.products);
    XentArguments arguments{};
    arguments.logits = reinterpret_cast<const float*>(x.logits);
    arguments.dlogits = x.dlogits;
    arguments.targets = static_cast<const int*>(in[2]) + first;
    arguments.token_scale = static_cast<const float*>(in[3]) + first;
    arguments.token_loss = static_cast<float*>(out[1]) + first;
    arguments.terms = x.terms + first;
    arguments.vocab = vocab_;
    arguments.pitch = pitch_;
    arguments.z_loss = static_cast<float>(attributes_.options.z_loss);
    arguments.soft_cap = static_cast<float>(attributes_.options.soft_cap);
    arguments.gradients = has_gradients();
    arguments.scaled_only = attributes_.options.scaled_only;
    arguments.element = element_of(dtype_);
    rows_.launch({{chunk.tokens, 1, 1}, threads_of(vocab_)}, arguments);
    if (!has_gradients()) return;
    auto* const dh = static_cast<std::byte*>(out[2]) + first * row_bytes;
    chunk.dh->run(x.dlogits, in[1], dh, x.products);
    if (const auto& dweight = chunk.dweight[first > 0])
      dweight->run(x.dlogits, h, out[3], x.products);
  }

  /// In one block, so in one order.
  void add_terms(const float* terms, void* to) const {
    const Axes axes = {{"token", tokens_}};
    const View from = View::row_major(axes), scalar{};
    ReduceArguments arguments{};
    arguments.outer = make_space({}, {&from, &scalar});
    arguments.inner = make_space(axes, {&from});
    arguments.from = terms;
    arguments.to = to;
    arguments.pieces = 1;
    arguments.piece_length = tokens_;
    sum_.launch({{1, 1, 1}}, arguments);
  }

  const LinearXentAttributes attributes_;
  DType dtype_;
  int64_t tokens_, embed_, vocab_;
  int64_t pitch_;  ///< between rows of logits, so that rows lie evenly whatever the vocabulary
  int64_t chunk_;
  Function rows_, sum_;
  std::array<std::optional<Copy>, 4> dense_;  ///< by input
  std::optional<Chunk> whole_, rest_;
};

}  // namespace

extern const CudaKernelEntry linear_xent_entry;
const CudaKernelEntry linear_xent_entry = {
    {{&ops::linear_xent_entry, make<LinearXentKernel>, nullptr, takes}}};

}  // namespace levanter::cuda

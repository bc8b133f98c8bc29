// Attention and its gradients as graphs of cuDNN's operations.
//
// The library knows these graphs by their form, and runs each as one kernel or few. Keys are
// columns: k and v come as their transposes where they are the second factor of q k' and do v'.
#include "kernels/cuda/sdpa_graph.h"

#include <cmath>

namespace levanter::cuda {

namespace {

constexpr cudnnDataType_t kBf16 = CUDNN_DATA_BFLOAT16;
constexpr size_t kOldestVersion = 91100;
constexpr size_t kWrongVersion = 91400;  // reported to give wrong results
/// Before this, backward on Hopper is wrong where positions are no whole tiles.
constexpr size_t kWholeTilesBefore = 91600;
constexpr int64_t kTile = 128;

/// The arrays of one shape, as a graph has them.
class SdpaGraph {
 public:
  SdpaGraph(Graph& graph, const SdpaShape& shape) : g_(graph), s_(shape) {}

  void add_forward();
  void add_backward();

 private:
  bool is_grouped() const { return s_.heads != s_.kv_heads; }
  Four of_queries() const { return {s_.batch, s_.heads, s_.queries, s_.head_dim}; }
  Four of_keys() const { return {s_.batch, s_.kv_heads, s_.keys, s_.head_dim}; }
  Four rows() const { return {s_.batch, s_.heads, s_.queries, 1}; }
  Four pairs() const { return {s_.batch, s_.heads, s_.queries, s_.keys}; }

  Tensor array(SdpaArray name, const Four& sizes) {
    const SdpaStrides& at = s_.strides_of(name);
    return g_.memory(id_of(name), kBf16, sizes, {at.batch, at.head, at.position, 1});
  }
  /// Positions and head_dim in each other's place.
  Tensor transposed(SdpaArray name, const Four& sizes) {
    const SdpaStrides& at = s_.strides_of(name);
    return g_.memory(id_of(name), kBf16, {sizes[0], sizes[1], sizes[3], sizes[2]},
                     {at.batch, at.head, 1, at.position});
  }
  Tensor lse() {
    const SdpaStrides& at = s_.strides_of(SdpaArray::kLse);
    return g_.memory(id_of(SdpaArray::kLse), CUDNN_DATA_FLOAT, rows(),
                     {at.batch, at.head, at.position, 1});
  }

  Tensor scaled_scores(const Tensor& q, const Tensor& k_transposed);
  Tensor masked(Tensor x);
  Tensor transposed_bf16(const Tensor& pairs);
  void add_key_gradient(const Tensor& pairs_transposed, const Tensor& queries, SdpaArray name);

  Graph& g_;
  const SdpaShape& s_;
  Tensor scale_{};
};

Tensor SdpaGraph::scaled_scores(const Tensor& q, const Tensor& k_transposed) {
  const Tensor scores = g_.between(pairs());
  g_.multiply(q, k_transposed, scores);
  scale_ = g_.number(kScaleId);
  return g_.map(CUDNN_POINTWISE_MUL, {scores, scale_});
}

/// -infinity where key > query, and where key + window <= query.
Tensor SdpaGraph::masked(Tensor x) {
  if (!s_.causal) return x;
  const Tensor hidden = g_.number(kHiddenId);
  const auto keep_where = [&](const Tensor& left, cudnnPointwiseMode_t compare,
                              const Tensor& right) {
    const Tensor kept = g_.between(CUDNN_DATA_BOOLEAN, pairs(), packed(pairs()));
    g_.map(compare, {left, right}, kept, CUDNN_DATA_BOOLEAN);
    x = g_.map(CUDNN_POINTWISE_BINARY_SELECT, {x, hidden, kept});
  };
  const Tensor query = g_.index(x, 2), key = g_.index(x, 3);
  keep_where(query, CUDNN_POINTWISE_CMP_GE, key);
  if (s_.window == 0) return x;
  const Tensor query_again = g_.index(x, 2), key_again = g_.index(x, 3);
  const Tensor end = g_.map(CUDNN_POINTWISE_ADD, {key_again, g_.number(kWindowId)});
  keep_where(end, CUDNN_POINTWISE_CMP_GT, query_again);
  return x;
}

void SdpaGraph::add_forward() {
  const Tensor q = array(SdpaArray::kQ, of_queries());
  const Tensor k = transposed(SdpaArray::kK, of_keys());
  const Tensor scores = masked(scaled_scores(q, k));
  const Tensor largest = g_.between(rows()), total = g_.between(rows());
  g_.reduce(CUDNN_REDUCE_TENSOR_MAX, scores, largest);
  const Tensor e = g_.map(CUDNN_POINTWISE_EXP, {g_.map(CUDNN_POINTWISE_SUB, {scores, largest})});
  g_.reduce(CUDNN_REDUCE_TENSOR_ADD, e, total);
  g_.map(CUDNN_POINTWISE_ADD, {largest, g_.map(CUDNN_POINTWISE_LOG, {total})}, lse());
  const Tensor p = g_.between(kBf16, pairs(), packed(pairs()));
  g_.map(CUDNN_POINTWISE_DIV, {e, total}, p);
  g_.multiply(p, array(SdpaArray::kV, of_keys()), array(SdpaArray::kO, of_queries()));
}

Tensor SdpaGraph::transposed_bf16(const Tensor& pairs) {
  const auto [batch, heads, queries, keys] = pairs.sizes;
  const Tensor to = g_.between(kBf16, {batch, heads, keys, queries},
                               {heads * queries * keys, queries * keys, 1, keys});
  g_.reshape(pairs, to);
  return to;
}

/// dK or dV: the sum over queries, then over the query heads that share a key head.
void SdpaGraph::add_key_gradient(const Tensor& pairs_transposed, const Tensor& queries,
                                 SdpaArray name) {
  const Tensor to = array(name, of_keys());
  if (!is_grouped()) {
    g_.multiply(pairs_transposed, queries, to);
    return;
  }
  const Four sizes = {s_.batch, s_.heads, s_.keys, s_.head_dim};
  const Tensor of_heads = g_.between(kBf16, sizes, packed(sizes));
  g_.multiply(pairs_transposed, queries, of_heads);
  g_.reduce(CUDNN_REDUCE_TENSOR_ADD, of_heads, to);
}

void SdpaGraph::add_backward() {
  const Tensor d_o = array(SdpaArray::kDO, of_queries());
  const Tensor o = array(SdpaArray::kO, of_queries());
  const Tensor q = array(SdpaArray::kQ, of_queries());
  const Tensor k = transposed(SdpaArray::kK, of_keys());
  const Tensor v = transposed(SdpaArray::kV, of_keys());
  const Tensor sum = g_.between(rows());
  g_.reduce(CUDNN_REDUCE_TENSOR_ADD, g_.map(CUDNN_POINTWISE_MUL, {d_o, o}), sum);
  const Tensor delta = g_.memory(kDeltaId, CUDNN_DATA_FLOAT, rows(), packed(rows()));
  g_.map(CUDNN_POINTWISE_MUL, {sum, g_.number(kOneId)}, delta);

  const Tensor logs = g_.map(CUDNN_POINTWISE_SUB, {scaled_scores(q, k), lse()});
  const Tensor p = g_.map(CUDNN_POINTWISE_EXP, {masked(logs)});
  add_key_gradient(transposed_bf16(p), d_o, SdpaArray::kDV);

  const Tensor dp = g_.between(pairs());
  g_.multiply(d_o, v, dp);
  const Tensor centred = g_.map(CUDNN_POINTWISE_SUB, {dp, delta});
  const Tensor ds =
      g_.map(CUDNN_POINTWISE_MUL, {g_.map(CUDNN_POINTWISE_MUL, {centred, p}), scale_});
  add_key_gradient(transposed_bf16(ds), q, SdpaArray::kDK);

  const SdpaStrides& at = s_.strides_of(SdpaArray::kK);
  const Tensor k_rows = g_.between(kBf16, of_keys(), {at.batch, at.head, at.position, 1});
  g_.reshape(k, k_rows);
  g_.multiply(ds, k_rows, array(SdpaArray::kDQ, of_queries()));
}

}  // namespace

void add_sdpa(Graph& graph, const SdpaShape& shape) {
  SdpaGraph made(graph, shape);
  if (shape.backward)
    made.add_backward();
  else
    made.add_forward();
}

EngineChoice sdpa_engine(const SdpaShape& shape, int major, size_t version) {
  constexpr int kBlackwell = 10;
  constexpr size_t kOrderedOnBlackwell = 91800, kOtherSettings = 92300;
  if (!shape.backward || major < kBlackwell) return {};
  if (major > kBlackwell || version < kOrderedOnBlackwell || version >= kOtherSettings)
    return {.engine = kNoEngine, .knobs = {}};
  return {.engine = 5, .knobs = {{CUDNN_KNOB_TYPE_KERNEL_CFG, 31}, {CUDNN_KNOB_TYPE_STAGES, 2}}};
}

bool sdpa_version_is_right(const SdpaShape& shape, int major, size_t version) {
  constexpr int kHopper = 9;
  if (version < kOldestVersion || version == kWrongVersion) return false;
  const bool whole = shape.queries % kTile == 0 && shape.keys % kTile == 0;
  return version >= kWholeTilesBefore || !shape.backward || major != kHopper || whole;
}

}  // namespace levanter::cuda

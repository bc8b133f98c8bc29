// The layers that models are built of: their parameters and the graph that they build.
#include "nn/layers.h"

#include "base/hash.h"
#include "base/strings.h"
#include "nn/adaptation.h"

namespace levanter::nn {

Linear::Linear(const Scope& s, const Axes& in_axes, const Axes& out_axes, const Options& options)
    : scope(s), in(in_axes), out(out_axes) {
  const bool out_first = options.order == WeightOrder::kOutIn;
  const Axes &first = out_first ? out : in, &last = out_first ? in : out;
  weight = scope.weight(unite(first, last), {first.elements(), last.elements()}, options.init,
                        Role::kWeight, in);
  if (options.bias) bias = scope.param("bias", out, {out.elements()}, Init::zeros(), Role::kBias);
  const Matrix matrix{scope, in, out, weight};
  adaptation = scope.adapt({&matrix, 1});
}

NamedArray Linear::operator()(NamedArray x, NamedArray dropout_keys) const {
  const OriginScope at = scope.enter();
  NamedArray y = weight.times(x, out), added;
  if (bias) {
    added = pack(bias);  // rounded like the weight, so that a product may add it
    if (added.dtype() != y.dtype()) added = cast(broadcast(added, y.axes()), y.dtype());
    y = y + added;
  }
  y = cast(y, scope.graph().compute());
  if (!adaptation) return y;
  return adaptation->apply({x, y, added, {}, dropout_keys});
}

Embedding::Embedding(const Scope& s, Axis table_axis, Axis embed, Init init)
    : scope(s), table(table_axis.name) {
  weight = scope.param("weight", {table_axis, embed}, {table_axis.size, embed.size}, init,
                       Role::kEmbedding);
}

NamedArray Embedding::operator()(NamedArray ids) const {
  const OriginScope at = scope.enter();
  return cast(gather(weight, table, ids), scope.graph().compute());
}

LayerNorm::LayerNorm(const Scope& s, Axis embed, double eps, bool with_bias)
    : scope(s), epsilon(eps) {
  weight = scope.param("weight", {embed}, {embed.size}, Init::ones(), Role::kNorm);
  if (with_bias) bias = scope.param("bias", {embed}, {embed.size}, Init::zeros(), Role::kBias);
}

NamedArray LayerNorm::operator()(NamedArray x) const {
  const OriginScope at = scope.enter();
  return layer_norm(x, weight, bias, epsilon);
}

RmsNorm::RmsNorm(const Scope& s, const Axes& over, double eps, Weight weighed)
    : scope(s), axes(over), epsilon(eps), kind(weighed) {
  if (kind == Weight::kNone) return;
  const Init init = kind == Weight::kAroundZero ? Init::zeros() : Init::ones();
  weight = scope.param("weight", axes, {axes.elements()}, init, Role::kNorm);
}

NamedArray RmsNorm::operator()(NamedArray x) const {
  const OriginScope at = scope.enter();
  Graph& graph = x.graph();
  if (kind == Weight::kNone)
    return rms_norm(x, broadcast(constant(graph, 1, graph.real()), axes), epsilon);
  return rms_norm(x, kind == Weight::kAroundZero ? weight + 1.0 : weight, epsilon);
}

Dropout::Dropout(const Scope& scope, std::string_view name, double r)
    : path(cat(scope.path(), ".", name)), rate(r) {}

NamedArray Dropout::keys_for(NamedArray keys) const {
  if (!keys || rate == 0) return {};
  const uint64_t hash = xxh3_64(std::as_bytes(std::span(path.data(), path.size())));
  return fold_in(fold_in(keys, static_cast<uint32_t>(hash >> 32)), static_cast<uint32_t>(hash));
}

NamedArray Dropout::operator()(NamedArray x, NamedArray keys) const {
  const NamedArray own = keys_for(keys);
  return own ? dropout(x, own, rate) : x;
}

}  // namespace levanter::nn

// Rotary position embeddings, halves rotated as Transformers does.
#include "nn/rotary.h"

namespace levanter::nn {

Rotary::Rotary(NamedArray positions, const RotaryFrequencies& frequencies) {
  Graph& graph = positions.graph();
  const NamedArray angle =
      broadcast(cast(positions, graph.real()),
                unite(positions.axes(), {{"head_dim", int64_t(frequencies.inverse.size())}})) *
      literal(graph, "head_dim", frequencies.inverse, graph.real());
  cos = map(Map::kCos, angle);
  sin = map(Map::kSin, angle);
  if (frequencies.scale != 1) {
    cos = cos * frequencies.scale;
    sin = sin * frequencies.scale;
  }
}

NamedArray Rotary::operator()(NamedArray x) const {
  const int64_t half = cos.axes().size_of("head_dim");
  const int64_t rest = x.axes().size_of("head_dim") - 2 * half;
  std::vector<int64_t> sizes = {half, half};
  if (rest > 0) sizes.push_back(rest);
  const auto parts = partition(cast(x, cos.dtype()), "head_dim", sizes);
  std::vector<NamedArray> rotated = {parts[0] * cos - parts[1] * sin,
                                     parts[1] * cos + parts[0] * sin};
  if (rest > 0) rotated.push_back(parts[2]);
  return cast(concat(rotated, "head_dim"), x.dtype());
}

}  // namespace levanter::nn

// 32 random bits an element, one key a row (Threefry-2x32, JAX's partitionable indexing). axes: the
// result's.
#include "base/strings.h"
#include "ops/ops.h"
#include "ops/entries.h"

namespace levanter {

namespace {

std::vector<Type> infer(const Attributes& a, std::span<const Type> in) {
  const Axes& keys = in[0].axes;
  if (in[0].dtype != DType::u32 || keys.empty() || keys[keys.size() - 1] != key_word())
    type_error("keys are u32 with key_word 2 as the last axis");
  for (size_t i = 0; i + 1 < keys.size(); ++i)
    if (i >= a.axes.size() || a.axes[i] != keys[i])
      type_error(cat("the result ", to_string(a.axes), " does not begin with the keys' axes"));
  return {Type{DType::u32, a.axes}};
}

Cost cost(const Node& node, std::span<const Type>) {
  return {60.0 * static_cast<double>(node.outputs[0].elements())};
}

}  // namespace

namespace ops {
const Op random_bits_entry = {.name = "random_bits",
                              .summary = "32 random bits an element, one key a row",
                              .infer = infer,
                              .cost = cost};
}  // namespace ops

NamedArray random_bits(Operand keys, const Axes& axes) {
  const NamedArray in[] = {keys.array};
  return keys.array.graph().add(ops::random_bits_entry, Attributes{.axes = axes}, in, keys.where);
}

}  // namespace levanter

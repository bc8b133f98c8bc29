// Keys folded with a constant (Threefry-2x32, as JAX's fold_in).
#include "base/strings.h"
#include "ops/attributes.h"
#include "ops/entries.h"

namespace levanter {

namespace {
std::vector<Type> infer(const Attributes&, std::span<const Type> in) {
  const Axes& axes = in[0].axes;
  if (in[0].dtype != DType::u32 || axes.empty() || axes[axes.size() - 1] != key_word())
    type_error("keys are u32 with key_word 2 as the last axis");
  return {in[0]};
}
}  // namespace

namespace ops {
const Op fold_in_entry = {
    .name = "fold_in", .summary = "keys folded with a constant", .infer = infer};
}  // namespace ops

Axis key_word() { return {"key_word", 2}; }

NamedArray fold_in(Operand keys, uint32_t data) {
  const NamedArray in[] = {keys.array};
  return keys.array.graph().add(ops::fold_in_entry, FoldInAttributes{data}.pack(), in, keys.where);
}

}  // namespace levanter

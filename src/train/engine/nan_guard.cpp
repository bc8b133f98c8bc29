// Stops an eager run at the first node that makes a NaN.
#include "train/engine/nan_guard.h"

#include "base/bf16.h"
#include "base/error.h"
#include "base/strings.h"
#include "ops/attributes.h"
#include "ops/entries.h"

namespace levanter::train {

namespace {

template <class T>
int64_t first_nan(const void* data, int64_t n) {
  const T* values = static_cast<const T*>(data);
  for (int64_t i = 0; i < n; ++i)
    if (values[i] != values[i]) return i;
  return -1;
}

}  // namespace

void NanGuard::after(const Node& node, const std::string& where, void* const* outputs) {
  for (size_t o = 0; o < node.outputs.size(); ++o) {
    const Type& type = node.outputs[o];
    int64_t at = -1;
    if (type.dtype == DType::f32) at = first_nan<float>(outputs[o], type.elements());
    if (type.dtype == DType::bf16) at = first_nan<Bf16>(outputs[o], type.elements());
    if (type.dtype == DType::f64) at = first_nan<double>(outputs[o], type.elements());
    if (at < 0) continue;
    std::string name = node.op->name;
    if (is(node, ops::map_entry))
      name = levanter::name_of(MapAttributes::of(node.attributes).opcode);
    const char* phase = "update";
    if (node.origin.phase == Phase::kForward) phase = "forward";
    if (node.origin.phase == Phase::kBackward) phase = "backward";
    throw Error(ErrorKind::kGuard, cat("the first NaN comes from ", name, " in the ", phase,
                                       " pass, element ", at, " of ", to_string(type)))
        .at(where)
        .hint("its operands are finite or infinite; look at the learning rate and at the data");
  }
}

}  // namespace levanter::train

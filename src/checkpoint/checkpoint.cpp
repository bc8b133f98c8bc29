// What a checkpoint holds, and saving one.
#include "checkpoint/checkpoint.h"

#include <algorithm>
#include <cstring>

#include "base/error.h"
#include "base/hash.h"
#include "base/strings.h"
#include "checkpoint/save.h"

namespace levanter {

namespace {

constexpr size_t kRoundedAtOnce = 4096;

/// The tensors' own memory: nothing changes it during a save that the caller waits for.
class LivePieces final : public PieceSource {
 public:
  explicit LivePieces(const SavePlan& plan) : plan_(plan) {}
  std::span<const std::byte> take(size_t index) override { return plan_.pieces[index]; }
  void release(size_t) override {}

 private:
  const SavePlan& plan_;
};

}  // namespace

int64_t TensorView::elements() const {
  int64_t count = 1;
  for (const int64_t n : shape) count *= n;
  return count;
}

SaveReport save_checkpoint(const std::string& folder, const CheckpointContents& contents) {
  const SavePlan plan(contents);
  LivePieces live(plan);
  return write_checkpoint(folder, plan, live);
}

std::string params_hash(std::span<const TensorView> parameters) {
  std::vector<const TensorView*> order;
  for (const TensorView& tensor : parameters) order.push_back(&tensor);
  std::sort(order.begin(), order.end(),
            [](const TensorView* a, const TensorView* b) { return a->path < b->path; });
  Hasher hasher(Hasher::Width::k128);
  for (const TensorView* tensor : order) hash_parameter(hasher, *tensor);
  return hasher.hex();
}

void hash_parameter(Hasher& hasher, const TensorView& parameter) {
  const auto count = static_cast<size_t>(parameter.elements());
  if (parameter.dtype == DType::f32) return hasher.update({parameter.data, count * sizeof(float)});
  LEV_CHECK(parameter.dtype == DType::f64, cat("parameter ", parameter.path, " is not floating"));
  float rounded[kRoundedAtOnce];
  for (size_t i = 0; i < count;) {
    size_t n = 0;
    for (; n < kRoundedAtOnce && i < count; ++n, ++i) {
      double value;
      std::memcpy(&value, parameter.data + i * sizeof value, sizeof value);
      rounded[n] = static_cast<float>(value);
    }
    hasher.update(std::as_bytes(std::span(rounded, n)));
  }
}

}  // namespace levanter

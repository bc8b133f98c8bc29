// What a checkpoint holds, and saving one.
#include "checkpoint/checkpoint.h"

#include <algorithm>
#include <cstring>

#include "base/bf16.h"
#include "base/error.h"
#include "base/hash.h"
#include "base/strings.h"
#include "checkpoint/save.h"
#include "device/transfer.h"

namespace levanter {

namespace {

constexpr size_t kHashedAtOnce = size_t{1} << 16;  // elements

/// The tensors' own memory: nothing changes it during a save that the caller waits for.
class LivePieces final : public PieceSource {
 public:
  explicit LivePieces(const SavePlan& plan) : plan_(plan) {}
  std::span<const std::byte> take(size_t index) override { return plan_.pieces[index].read(room_); }
  void release(size_t) override {}

 private:
  const SavePlan& plan_;
  std::vector<std::byte> room_;
};

}  // namespace

SaveReport save_checkpoint(const std::string& folder, const CheckpointContents& contents) {
  const SavePlan plan(contents);
  LivePieces live(plan);
  try {
    return write_checkpoint(folder, plan, live);
  } catch (...) {
    const std::exception_ptr failure = std::current_exception();
    discard_checkpoint(plan);
    std::rethrow_exception(failure);
  }
}

std::string params_hash(std::span<const Tensor> parameters) {
  std::vector<const Tensor*> order;
  for (const Tensor& tensor : parameters) order.push_back(&tensor);
  std::sort(order.begin(), order.end(),
            [](const Tensor* a, const Tensor* b) { return a->path < b->path; });
  Hasher hasher(Hasher::Width::k128);
  for (const Tensor* tensor : order) hash_parameter(hasher, *tensor);
  return hasher.hex();
}

namespace {

/// The number of type T that is stored there.
template <class T>
float float_of(const std::byte* at) {
  T value;
  std::memcpy(&value, at, sizeof value);
  return static_cast<float>(value);
}

}  // namespace

void hash_parameter(Hasher& hasher, const Tensor& parameter) {
  const bool is_wide = parameter.dtype == DType::f64, is_narrow = parameter.dtype == DType::bf16;
  LEV_CHECK(is_float(parameter.dtype) || parameter.dtype == DType::i8,
            cat("parameter ", parameter.path, " is neither floating nor i8"));
  const auto count = static_cast<size_t>(parameter.elements());
  const auto element = static_cast<size_t>(size_of(parameter.dtype));
  std::vector<std::byte> room;
  std::vector<float> rounded;
  for (size_t i = 0; i < count; i += kHashedAtOnce) {
    const size_t n = std::min(kHashedAtOnce, count - i);
    const std::span<const std::byte> bytes =
        read_bytes(*parameter.memory, parameter.data + i * element, n * element, room);
    if (!is_wide && !is_narrow) {
      hasher.update(bytes);
      continue;
    }
    rounded.resize(n);
    for (size_t k = 0; k < n; ++k) {
      const std::byte* const at = bytes.data() + k * element;
      rounded[k] = is_wide ? float_of<double>(at) : float_of<Bf16>(at);
    }
    hasher.update(std::as_bytes(std::span(rounded)));
  }
}

}  // namespace levanter

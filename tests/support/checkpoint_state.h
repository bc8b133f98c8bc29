// A small training state whose every element says which step it belongs to.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "checkpoint/checkpoint.h"

namespace levanter::testing {

class CheckpointState final {
 public:
  /// `scale` multiplies the size of the largest tensor, 240 bytes.
  explicit CheckpointState(int64_t scale = 1) {
    add(model_, "wte.weight", DType::f32, {5 * scale, 12});
    add(model_, "ln_f.weight", DType::f32, {12});
    add(model_, "h.0.attn.bias", DType::f32, {3, 2, 4});
    add(model_, "scale", DType::f64, {});
    add(optimizer_, "first/wte.weight", DType::f32, {5 * scale, 12});
    add(optimizer_, "count", DType::i32, {});
    add(optimizer_, "empty", DType::u32, {0, 3});
    fill(0);
  }

  /// Gives each element a value that depends on the step and its place.
  void fill(int64_t step) {
    uint32_t place = 0;
    for (auto* group : {&model_, &optimizer_}) {
      for (Tensor& tensor : *group) {
        auto* words = reinterpret_cast<uint32_t*>(tensor.data);
        for (int64_t i = 0; i < tensor.bytes() / 4; ++i)
          words[i] = (static_cast<uint32_t>(step) * 2654435761u + 40503u * ++place) & 0x3fffffff;
      }
    }
  }

  /// What fill(step) would give `params_hash`.
  static std::string hash_at(int64_t step, int64_t scale = 1) {
    CheckpointState state(scale);
    state.fill(step);
    return params_hash(state.model_);
  }

  CheckpointContents contents(int64_t step, bool permanent = true) const {
    return {.step = step,
            .config_toml = "[model]\ntype = \"gpt2\"\n",
            .config_hash = "c0ffee",
            .numerics = "cpu avx2 \"quoted\"",
            .tokenizer = "{\"type\": \"char\"}",
            .extra_json = R"({"groups":2,"microbatches":4})",
            .model = model_,
            .optimizer = optimizer_,
            .permanent = permanent};
  }

  const std::vector<Tensor>& model() const { return model_; }
  const std::vector<Tensor>& optimizer() const { return optimizer_; }
  int64_t bytes() const {
    int64_t sum = 0;
    for (const auto& memory : memory_) sum += static_cast<int64_t>(memory.size()) * 8;
    return sum;
  }

 private:
  void add(std::vector<Tensor>& group, std::string path, DType dtype, std::vector<int64_t> shape) {
    Tensor view{std::move(path), dtype, std::move(shape), nullptr};
    memory_.emplace_back(static_cast<size_t>(view.bytes() + 15) / 8);
    view.data = reinterpret_cast<std::byte*>(memory_.back().data());
    group.push_back(std::move(view));
  }

  std::vector<std::vector<uint64_t>> memory_;
  std::vector<Tensor> model_, optimizer_;
};

}  // namespace levanter::testing

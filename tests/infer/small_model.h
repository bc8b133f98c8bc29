// A very small GPT-2 with drawn parameters, for tests of tracing and inference.
#pragma once

#include "base/random.h"
#include "infer/inference.h"
#include "models/families/gpt2_config.h"

namespace levanter::testing {

inline constexpr int64_t kSmallVocab = 11;

inline Gpt2Config small_config() {
  Gpt2Config config;
  config.max_seq_len = 8;
  config.hidden_dim = 12;
  config.num_layers = 2;
  config.num_heads = 3;
  return config;
}

/// Fills every parameter with numbers in [-0.5, 0.5) of its own.
inline void draw_parameters(infer::InferenceModel& model) {
  for (const Tensor& tensor : model.tensors()) {
    const Key key = fold_in(key_from_seed(5), tensor.path);
    std::vector<float> values(static_cast<size_t>(tensor.elements()));
    for (size_t i = 0; i < values.size(); ++i)
      values[i] = static_cast<float>(uniform(key, i, -0.5, 0.5));
    tensor.memory->upload(tensor.data, std::as_bytes(std::span(values)));
  }
}

}  // namespace levanter::testing

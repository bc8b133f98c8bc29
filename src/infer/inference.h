// A model's parameters in memory, for evaluation and generation alone.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "device/backend.h"
#include "device/tensor.h"
#include "infer/trace.h"

namespace levanter::infer {

class InferenceModel final {
 public:
  /// `batch`: rows that token_losses takes at a time; `compute`: f32 or bf16. The backend and the
  /// spec outlive this.
  InferenceModel(const ModelSpec& spec, int64_t vocab_size, int64_t batch, const Backend& backend,
                 DType compute = DType::f32);
  ~InferenceModel();
  InferenceModel(const InferenceModel&) = delete;
  InferenceModel& operator=(const InferenceModel&) = delete;

  /// The parameters, to be filled before the first use.
  std::vector<Tensor> tensors();
  const std::vector<nn::Param>& params() const;
  /// Lets the model's matrices be what its adapter makes of them, which then stands for nothing.
  void merge();
  /// Memory that token_losses takes, the parameters with it; found without taking it.
  int64_t evaluation_bytes();
  /// Token losses of `batch` rows of max_seq_len tokens; good until the next call.
  std::span<const float> token_losses(const Rows& rows);
  /// Logits of the token after `tokens`, at least one; of more than max_seq_len, the last
  /// max_seq_len count. Good until the next call. Here and below `adapter` is the number of the one
  /// that they go through, where the model has several; -1 for none.
  std::span<const float> next_logits(std::span<const int32_t> tokens, int32_t adapter = -1);

  /// Makes room for `rows` texts of up to `longest` tokens (or max_seq_len, if that is less) that
  /// grow by a token at a time, their keys and values kept. A row's logits do not depend on the
  /// other rows, up to 16 of them; they are next_logits' but for rounding, because other kernels
  /// compute them.
  void begin_decoding(int64_t rows, int64_t longest);
  /// Row `row` becomes `tokens`, as many as there is room for. The logits of the token after them;
  /// good until the next call.
  std::span<const float> decode_text(int64_t row, std::span<const int32_t> tokens,
                                     int32_t adapter = -1);
  /// One token more in each row, under its text's adapter, none where it is below 0. The logits
  /// after it, [rows, vocab], which mean nothing in a row without one; good until the next call.
  std::span<const float> decode_next(std::span<const int32_t> tokens);
  int64_t max_seq_len() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace levanter::infer

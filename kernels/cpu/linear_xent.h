// Cross entropy of a linear layer in chunks of tokens, without the whole logits (Hsu et al. 2024,
// arXiv:2410.10989).
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "base/threads.h"
#include "kernels/cpu/gemm.h"
#include "ops/composite/attributes.h"

namespace levanter::cpu {

/// Sizes and strides (in elements) of a linear layer under a cross entropy.
struct LinearXentShape {
  int64_t tokens = 0, embed = 0, vocab = 0;
  int64_t h_row = 0;                           ///< between the tokens of h and of dh
  int64_t weight_vocab = 0, weight_embed = 1;  ///< of the weight; one of them is 1
  float z_loss = 0, soft_cap = 0;              ///< 0 for none
  DType dtype = DType::f32;                    ///< of h, weight and dh; or bf16
  bool scaled_only = false;  ///< token_loss is 0 where token_scale is; such tokens are left out
};

/// With x = h weight^T, logits = x or soft_cap tanh(x / soft_cap), lse[t] = log(sum over v of
/// exp(logits[t, v])):
///   token_loss[t] = lse[t] - logits[t, targets[t]]
///   term[t] = token_scale[t] (token_loss[t] + z_loss lse[t]^2)
/// With gradients, of the sum of the terms:
///   dlogits = (softmax(logits) (1 + 2 z_loss lse) - onehot(targets)) token_scale dlogits/dx
///   dh = dlogits weight,  dweight = dlogits^T h, chunk after chunk in order
/// With bf16 factors the logits are f32, the dlogits rounded to bf16 for both products, dh rounded
/// once; all else is f32.
/// With `scaled_only`, where leaving out the tokens of scale 0 makes fewer rows by an eighth or
/// more, the others are gathered into chunks of their own. For that chunks of other lengths are
/// compiled too, some 10 ms.
struct LinearXentArrays {
  const void *h = nullptr, *weight = nullptr;
  const int32_t* targets = nullptr;              ///< [tokens], each in [0, vocab)
  const float* token_scale = nullptr;            ///< [tokens]
  float *token_loss = nullptr, *term = nullptr;  ///< [tokens]
  void* dh = nullptr;                            ///< for gradients only
  float* dweight = nullptr;                      ///< for both gradients; [vocab, embed], dense
};

class LinearXent final {
 public:
  /// Compiles the products; `products` must outlive this.
  LinearXent(Products& products, const LinearXentShape& shape, XentGradients gradients);

  /// Tokens in a chunk, from the shape alone.
  int64_t chunk_tokens() const { return chunk_; }
  /// Scratch for a pool of that many workers, a multiple of 64: one chunk of logits and the tiles'.
  size_t scratch_bytes(int workers) const;

  /// `scratch` is aligned to 64. Throws an Error of kind kData for a target outside the vocabulary.
  void run(ThreadPool& pool, const LinearXentArrays& arrays, void* scratch) const;

 private:
  /// The products of a chunk of one length.
  struct Chunk {
    int64_t tokens;
    Gemm logits;
    std::optional<Gemm> dh, dweight;
    Chunk(Products& products, const LinearXentShape& shape, int64_t tokens,
          XentGradients gradients);
    size_t scratch_bytes(int workers) const;
  };
  /// Whether tokens are worth leaving out, which takes products and scratch.
  bool leaves_out() const { return !shorter_.empty(); }
  int64_t row_bytes() const { return shape_.h_row * size_of(shape_.dtype); }
  /// Of the numbers of the tokens that have a scale, and of a chunk of their arrays.
  size_t gathered_bytes() const;
  /// The longest chunk that `tokens` fill, rounded up to the shortest.
  const Chunk& chunk_for(size_t tokens) const;
  /// The arrays from a token on.
  LinearXentArrays from(const LinearXentArrays& arrays, int64_t token) const;
  void check_targets(const LinearXentArrays& arrays) const;
  void run_all(ThreadPool& pool, const LinearXentArrays& arrays, char* scratch) const;
  void run_some(ThreadPool& pool, const LinearXentArrays& arrays, std::span<const int32_t> tokens,
                char* scratch) const;
  void run_row(const LinearXentArrays& arrays, int64_t token, float* logits,
               uint16_t* rounded) const;
  /// `scratch`: the logits, dlogits as bf16, and the products'.
  void run_chunk(ThreadPool& pool, const Chunk& chunk, const LinearXentArrays& arrays, Store store,
                 char* scratch) const;
  void run_dh(ThreadPool& pool, const Chunk& chunk, const LinearXentArrays& arrays,
              const void* dlogits, void* scratch) const;

  LinearXentShape shape_;
  XentGradients gradients_;
  int64_t chunk_ = 0;
  size_t logits_bytes_ = 0, rounded_bytes_ = 0;  ///< of a chunk's logits, and dlogits as bf16
  std::vector<Chunk> shorter_;  ///< of half as many tokens as whole_, a quarter, and so on
  std::optional<Chunk> whole_, rest_;
};

}  // namespace levanter::cpu

// A chunk: logits by tiles, the cross entropy row by row in place, then both gradients by tiles.
#include "kernels/cpu/linear_xent.h"

#include <algorithm>

#include "base/error.h"
#include "base/strings.h"
#include "kernels/cpu/vector.h"

namespace levanter::cpu {
namespace {

constexpr int64_t kShortChunk = 256, kLongChunk = 4096;
constexpr int64_t kChunkElements = int64_t{1} << 24;  ///< logits of a chunk: 64 MiB
constexpr int64_t kRowsElements = 16384;              ///< logits that a worker claims at a time

size_t round_up(size_t bytes) { return (bytes + 63) / 64 * 64; }

/// As many tokens as keep the logits within their limit, a multiple of 256.
int64_t chunk_length(const LinearXentShape& shape) {
  const int64_t fitting =
      kChunkElements / std::max<int64_t>(shape.vocab, 1) / kShortChunk * kShortChunk;
  return std::min(shape.tokens, std::clamp(fitting, kShortChunk, kLongChunk));
}

ProductShape logits_shape(const LinearXentShape& s, int64_t tokens) {
  return {tokens, s.vocab, s.embed, s.h_row, 1, s.weight_embed, s.weight_vocab, s.vocab};
}
ProductShape dh_shape(const LinearXentShape& s, int64_t tokens) {
  return {tokens, s.embed, s.vocab, s.vocab, 1, s.weight_vocab, s.weight_embed, s.h_row};
}
ProductShape dweight_shape(const LinearXentShape& s, int64_t tokens) {
  return {s.vocab, s.embed, tokens, 1, s.vocab, s.h_row, 1, s.embed};
}

}  // namespace

LinearXent::Chunk::Chunk(Products& products, const LinearXentShape& shape, int64_t tokens,
                         Mode mode)
    : tokens(tokens), logits(products, logits_shape(shape, tokens)) {
  if (mode == Mode::kLoss) return;
  dh.emplace(products, dh_shape(shape, tokens));
  dweight.emplace(products, dweight_shape(shape, tokens));
}

size_t LinearXent::Chunk::scratch_bytes(int workers) const {
  size_t bytes = logits.run_scratch_bytes(workers);
  for (const auto* gemm : {&dh, &dweight})
    if (*gemm) bytes = std::max(bytes, (*gemm)->run_scratch_bytes(workers));
  return bytes;
}

LinearXent::LinearXent(Products& products, const LinearXentShape& shape, Mode mode)
    : shape_(shape), mode_(mode), chunk_(chunk_length(shape)) {
  LEV_CHECK(shape.tokens >= 1 && shape.vocab >= 1 && shape.embed >= 1, "linear_xent needs extents");
  logits_bytes_ = round_up(sizeof(float) * static_cast<size_t>(chunk_ * shape.vocab));
  whole_.emplace(products, shape, chunk_, mode);
  const int64_t rest = shape.tokens % chunk_;
  if (rest != 0) rest_.emplace(products, shape, rest, mode);
}

size_t LinearXent::scratch_bytes(int workers) const {
  size_t products = whole_->scratch_bytes(workers);
  if (rest_) products = std::max(products, rest_->scratch_bytes(workers));
  return logits_bytes_ + products;
}

void LinearXent::run_row(const LinearXentArrays& arrays, int64_t t, float* logits) const {
  const int32_t target = arrays.targets[t];
  if (target < 0 || target >= shape_.vocab)
    throw Error(ErrorKind::kData, cat("the target of token ", t, " of a batch is ", target))
        .allowed(cat("0 to ", shape_.vocab - 1, ", the model's vocabulary"));
  const float scale = arrays.token_scale[t];
  const float lse = vector_kernels().cross_entropy(
      logits, shape_.vocab,
      {target, scale, shape_.z_loss, shape_.soft_cap, mode_ == Mode::kGradients},
      arrays.token_loss + t);
  const float squared = shape_.z_loss > 0 ? lse * lse * shape_.z_loss : 0.0f;
  arrays.term[t] = (arrays.token_loss[t] + squared) * scale;
}

void LinearXent::run_chunk(ThreadPool& pool, const Chunk& chunk, int64_t first,
                           const LinearXentArrays& arrays, float* logits, void* scratch) const {
  const float* const h = arrays.h + first * shape_.h_row;
  chunk.logits.run(pool, {h, arrays.weight}, logits, Store::kOverwrite, scratch);
  const int64_t rows = std::max<int64_t>(1, kRowsElements / shape_.vocab);
  pool.parallel_for((chunk.tokens + rows - 1) / rows, [&](int64_t block, int) {
    const int64_t end = std::min(chunk.tokens, (block + 1) * rows);
    for (int64_t row = block * rows; row < end; ++row) {
      run_row(arrays, first + row, logits + row * shape_.vocab);
    }
  });
  if (mode_ == Mode::kLoss) return;
  chunk.dh->run(pool, {logits, arrays.weight}, arrays.dh + first * shape_.h_row, Store::kOverwrite,
                scratch);
  chunk.dweight->run(pool, {logits, h}, arrays.dweight,
                     first == 0 ? Store::kOverwrite : Store::kAdd, scratch);
}

void LinearXent::run(ThreadPool& pool, const LinearXentArrays& arrays, void* scratch) const {
  float* const logits = static_cast<float*>(scratch);
  void* const rest = static_cast<char*>(scratch) + logits_bytes_;
  for (int64_t first = 0; first < shape_.tokens; first += chunk_) {
    const Chunk& chunk = first + chunk_ <= shape_.tokens ? *whole_ : *rest_;
    run_chunk(pool, chunk, first, arrays, logits, rest);
  }
}

}  // namespace levanter::cpu

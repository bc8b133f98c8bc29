// A chunk: logits by tiles, the cross entropy row by row in place, then both gradients by tiles.
// Plain twin: src/ops/composite/linear_xent.cpp.
#include "kernels/cpu/linear_xent.h"

#include <algorithm>

#include "base/error.h"
#include "base/integers.h"
#include "base/strings.h"
#include "kernels/cpu/vector.h"

namespace levanter::cpu {
namespace {

constexpr int64_t kShortChunk = 256, kLongChunk = 4096;
constexpr int64_t kChunkElements = int64_t{1} << 25;  ///< logits of a chunk: 128 MiB
constexpr int64_t kRowsElements = 16384;              ///< logits that a worker claims at a time

size_t aligned(size_t bytes) { return round_up(bytes, 64); }

/// As many tokens as keep the logits within their limit, a multiple of 256.
int64_t chunk_length(const LinearXentShape& shape) {
  const int64_t fitting =
      kChunkElements / std::max<int64_t>(shape.vocab, 1) / kShortChunk * kShortChunk;
  return std::min(shape.tokens, std::clamp(fitting, kShortChunk, kLongChunk));
}

ProductShape logits_shape(const LinearXentShape& s, int64_t tokens) {
  return {.m = tokens,
          .n = s.vocab,
          .k = s.embed,
          .a_row = s.h_row,
          .b_row = s.weight_embed,
          .b_col = s.weight_vocab,
          .c_row = s.vocab,
          .factors = s.dtype};
}
ProductShape dh_shape(const LinearXentShape& s, int64_t tokens) {
  return {.m = tokens,
          .n = s.embed,
          .k = s.vocab,
          .a_row = s.vocab,
          .b_row = s.weight_vocab,
          .b_col = s.weight_embed,
          .c_row = s.h_row,
          .factors = s.dtype};
}
ProductShape dweight_shape(const LinearXentShape& s, int64_t tokens) {
  return {.m = s.vocab,
          .n = s.embed,
          .k = tokens,
          .a_row = 1,
          .a_col = s.vocab,
          .b_row = s.h_row,
          .c_row = s.embed,
          .factors = s.dtype};
}

}  // namespace

LinearXent::Chunk::Chunk(Products& products, const LinearXentShape& shape, int64_t tokens,
                         XentGradients gradients)
    : tokens(tokens), logits(products, logits_shape(shape, tokens)) {
  if (gradients == XentGradients::kNone) return;
  dh.emplace(products, dh_shape(shape, tokens));
  if (gradients == XentGradients::kBoth) dweight.emplace(products, dweight_shape(shape, tokens));
}

size_t LinearXent::Chunk::scratch_bytes(int workers) const {
  size_t bytes = logits.run_scratch_bytes(workers);
  for (const auto* gemm : {&dh, &dweight})
    if (*gemm) bytes = std::max(bytes, (*gemm)->run_scratch_bytes(workers));
  return bytes;
}

LinearXent::LinearXent(Products& products, const LinearXentShape& shape, XentGradients gradients)
    : shape_(shape), gradients_(gradients), chunk_(chunk_length(shape)) {
  LEV_CHECK(shape.tokens >= 1 && shape.vocab >= 1 && shape.embed >= 1, "linear_xent needs extents");
  logits_bytes_ = aligned(sizeof(float) * static_cast<size_t>(chunk_ * shape.vocab));
  if (gradients != XentGradients::kNone && shape.dtype == DType::bf16)
    rounded_bytes_ = aligned(sizeof(uint16_t) * static_cast<size_t>(chunk_ * shape.vocab));
  whole_.emplace(products, shape, chunk_, gradients);
  const int64_t rest = shape.tokens % chunk_;
  if (rest != 0) rest_.emplace(products, shape, rest, gradients);
}

size_t LinearXent::scratch_bytes(int workers) const {
  size_t products = whole_->scratch_bytes(workers);
  if (rest_) products = std::max(products, rest_->scratch_bytes(workers));
  return logits_bytes_ + rounded_bytes_ + products;
}

void LinearXent::run_row(const LinearXentArrays& arrays, int64_t t, float* logits,
                         uint16_t* rounded) const {
  const VectorKernels& kernels = vector_kernels();
  const int32_t target = arrays.targets[t];
  if (target < 0 || target >= shape_.vocab)
    throw Error(ErrorKind::kData, cat("the target of token ", t, " of a batch is ", target))
        .allowed(cat("0 to ", shape_.vocab - 1, ", the model's vocabulary"));
  const float scale = arrays.token_scale[t];
  float* const loss = arrays.token_loss + t;
  const CrossEntropyRow row = {target, scale, shape_.z_loss, shape_.soft_cap,
                               gradients_ != XentGradients::kNone};
  const float lse = rounded != nullptr
                        ? kernels.cross_entropy_bf16(rounded, logits, shape_.vocab, row, loss)
                        : kernels.cross_entropy(logits, logits, shape_.vocab, row, loss);
  const float squared = shape_.z_loss > 0 ? lse * lse * shape_.z_loss : 0.0f;
  arrays.term[t] = (*loss + squared) * scale;
}

/// dh = dlogits weight of a chunk; bf16 rows are rounded tile by tile.
void LinearXent::run_dh(ThreadPool& pool, const Chunk& chunk, int64_t first,
                        const LinearXentArrays& arrays, const void* dlogits, void* scratch) const {
  const int64_t at = first * shape_.h_row;
  const Gemm& dh = *chunk.dh;
  const Factors factors = dh.pack(pool, {dlogits, arrays.weight}, scratch);
  char* const tiles = static_cast<char*>(scratch) + dh.packed_bytes();
  if (shape_.dtype == DType::f32) {
    dh.run_tiles(pool, factors, static_cast<float*>(arrays.dh) + at, Store::kOverwrite, tiles);
    return;
  }
  uint16_t* const to = static_cast<uint16_t*>(arrays.dh) + at;
  pool.parallel_for(dh.tiles(), [&](int64_t index, int worker) {
    char* const own = tiles + static_cast<size_t>(worker) * dh.scratch_bytes_per_worker();
    const Tile tile = dh.multiply(index, worker, factors, own);
    for (int64_t r = 0; r < tile.rows; ++r) {
      vector_kernels().narrow(to + (tile.row + r) * shape_.h_row + tile.column,
                              tile.values + r * tile.columns, tile.columns);
    }
  });
}

void LinearXent::run_chunk(ThreadPool& pool, const Chunk& chunk, int64_t first,
                           const LinearXentArrays& arrays, float* logits, void* scratch) const {
  const bool rounds = rounded_bytes_ > 0;
  const char* const h =
      static_cast<const char*>(arrays.h) + first * shape_.h_row * size_of(shape_.dtype);
  auto* const rounded =
      reinterpret_cast<uint16_t*>(reinterpret_cast<char*>(logits) + logits_bytes_);
  chunk.logits.run(pool, {h, arrays.weight}, logits, Store::kOverwrite, scratch);
  const int64_t rows = std::max<int64_t>(1, kRowsElements / shape_.vocab);
  pool.parallel_for(ceil_div(chunk.tokens, rows), [&](int64_t block, int) {
    const int64_t end = std::min(chunk.tokens, (block + 1) * rows);
    for (int64_t row = block * rows; row < end; ++row) {
      const int64_t at = row * shape_.vocab;
      run_row(arrays, first + row, logits + at, rounds ? rounded + at : nullptr);
    }
  });
  if (gradients_ == XentGradients::kNone) return;
  const void* const dlogits = rounds ? static_cast<const void*>(rounded) : logits;
  run_dh(pool, chunk, first, arrays, dlogits, scratch);
  if (chunk.dweight)
    chunk.dweight->run(pool, {dlogits, h}, arrays.dweight,
                       first == 0 ? Store::kOverwrite : Store::kAdd, scratch);
}

void LinearXent::run(ThreadPool& pool, const LinearXentArrays& arrays, void* scratch) const {
  float* const logits = static_cast<float*>(scratch);
  void* const rest = static_cast<char*>(scratch) + logits_bytes_ + rounded_bytes_;
  for (int64_t first = 0; first < shape_.tokens; first += chunk_) {
    const Chunk& chunk = first + chunk_ <= shape_.tokens ? *whole_ : *rest_;
    run_chunk(pool, chunk, first, arrays, logits, rest);
  }
}

}  // namespace levanter::cpu

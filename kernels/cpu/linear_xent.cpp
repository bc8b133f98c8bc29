// A chunk: logits by tiles, the cross entropy row by row in place, then both gradients by tiles.
// Plain twin: src/ops/composite/linear_xent.cpp.
#include "kernels/cpu/linear_xent.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "base/error.h"
#include "base/integers.h"
#include "base/strings.h"
#include "kernels/cpu/vector.h"

namespace levanter::cpu {
namespace {

constexpr int64_t kShortChunk = 256, kLongChunk = 4096;
constexpr int64_t kChunkElements = int64_t{1} << 25;  ///< logits of a chunk: 128 MiB
constexpr int64_t kRowsElements = 16384;              ///< logits that a worker claims at a time
// Leaving out tokens of scale 0.
constexpr int64_t kWorkToLeaveOut = 4'000'000'000;  ///< multiply-adds of the logits: 25 ms
constexpr int64_t kShortestPart = 128;   ///< tokens of a chunk; its passes over the weight cost 64
constexpr int64_t kWorthwhileShare = 8;  ///< of the tokens, one in so many at least

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
  LEV_CHECK(!shape.scaled_only || shape.h_row == shape.embed, "what is gathered lies without gaps");
  logits_bytes_ = aligned(sizeof(float) * static_cast<size_t>(chunk_ * shape.vocab));
  if (gradients != XentGradients::kNone && shape.dtype == DType::bf16)
    rounded_bytes_ = aligned(sizeof(uint16_t) * static_cast<size_t>(chunk_ * shape.vocab));
  whole_.emplace(products, shape, chunk_, gradients);
  const int64_t rest = shape.tokens % chunk_;
  if (rest != 0) rest_.emplace(products, shape, rest, gradients);
  if (!shape.scaled_only || shape.tokens * shape.embed * shape.vocab < kWorkToLeaveOut) return;
  for (int64_t tokens = chunk_ / 2; tokens >= kShortestPart; tokens /= 2)
    shorter_.emplace_back(products, shape, tokens, gradients);
}

size_t LinearXent::scratch_bytes(int workers) const {
  size_t products = whole_->scratch_bytes(workers);
  if (rest_) products = std::max(products, rest_->scratch_bytes(workers));
  for (const Chunk& chunk : shorter_) products = std::max(products, chunk.scratch_bytes(workers));
  return (leaves_out() ? gathered_bytes() : 0) + logits_bytes_ + rounded_bytes_ + products;
}

void LinearXent::check_targets(const LinearXentArrays& arrays) const {
  for (int64_t t = 0; t < shape_.tokens; ++t) {
    const int32_t target = arrays.targets[t];
    if (target < 0 || target >= shape_.vocab)
      throw Error(ErrorKind::kData, cat("the target of token ", t, " of a batch is ", target))
          .allowed(cat("0 to ", shape_.vocab - 1, ", the model's vocabulary"));
  }
}

void LinearXent::run_row(const LinearXentArrays& arrays, int64_t t, float* logits,
                         uint16_t* rounded) const {
  const VectorKernels& kernels = vector_kernels();
  const float scale = arrays.token_scale[t];
  float* const loss = arrays.token_loss + t;
  const CrossEntropyRow row = {arrays.targets[t], scale, shape_.z_loss, shape_.soft_cap,
                               gradients_ != XentGradients::kNone};
  const float lse = rounded != nullptr
                        ? kernels.cross_entropy_bf16(rounded, logits, shape_.vocab, row, loss)
                        : kernels.cross_entropy(logits, logits, shape_.vocab, row, loss);
  const float squared = shape_.z_loss > 0 ? lse * lse * shape_.z_loss : 0.0f;
  arrays.term[t] = (*loss + squared) * scale;
  if (shape_.scaled_only && scale == 0) *loss = 0;
}

/// dh = dlogits weight of a chunk.
void LinearXent::run_dh(ThreadPool& pool, const Chunk& chunk, const LinearXentArrays& arrays,
                        const void* dlogits, void* scratch) const {
  const Factors factors = {dlogits, arrays.weight};
  if (shape_.dtype == DType::f32)
    chunk.dh->run(pool, factors, static_cast<float*>(arrays.dh), Store::kOverwrite, scratch);
  else
    chunk.dh->run_rounded(pool, factors, static_cast<uint16_t*>(arrays.dh), scratch);
}

void LinearXent::run_chunk(ThreadPool& pool, const Chunk& chunk, const LinearXentArrays& arrays,
                           Store store, char* scratch) const {
  const bool rounds = rounded_bytes_ > 0;
  auto* const logits = reinterpret_cast<float*>(scratch);
  auto* const rounded = reinterpret_cast<uint16_t*>(scratch + logits_bytes_);
  void* const products = scratch + logits_bytes_ + rounded_bytes_;
  chunk.logits.run(pool, {arrays.h, arrays.weight}, logits, Store::kOverwrite, products);
  const int64_t rows = std::max<int64_t>(1, kRowsElements / shape_.vocab);
  pool.parallel_for(ceil_div(chunk.tokens, rows), [&](int64_t block, int) {
    const int64_t end = std::min(chunk.tokens, (block + 1) * rows);
    for (int64_t row = block * rows; row < end; ++row) {
      const int64_t at = row * shape_.vocab;
      run_row(arrays, row, logits + at, rounds ? rounded + at : nullptr);
    }
  });
  if (gradients_ == XentGradients::kNone) return;
  const void* const dlogits = rounds ? static_cast<const void*>(rounded) : logits;
  run_dh(pool, chunk, arrays, dlogits, products);
  if (chunk.dweight) chunk.dweight->run(pool, {dlogits, arrays.h}, arrays.dweight, store, products);
}

LinearXentArrays LinearXent::from(const LinearXentArrays& arrays, int64_t token) const {
  LinearXentArrays moved = arrays;
  moved.h = static_cast<const char*>(arrays.h) + token * row_bytes();
  moved.targets += token;
  moved.token_scale += token;
  moved.token_loss += token;
  moved.term += token;
  if (arrays.dh != nullptr) moved.dh = static_cast<char*>(arrays.dh) + token * row_bytes();
  return moved;
}

void LinearXent::run_all(ThreadPool& pool, const LinearXentArrays& arrays, char* scratch) const {
  for (int64_t first = 0; first < shape_.tokens; first += chunk_) {
    const Chunk& chunk = first + chunk_ <= shape_.tokens ? *whole_ : *rest_;
    run_chunk(pool, chunk, from(arrays, first), first == 0 ? Store::kOverwrite : Store::kAdd,
              scratch);
  }
}

const LinearXent::Chunk& LinearXent::chunk_for(size_t tokens) const {
  const int64_t rows = round_up(static_cast<int64_t>(tokens), shorter_.back().tokens);
  if (rows >= chunk_) return *whole_;
  for (const Chunk& chunk : shorter_)
    if (rows >= chunk.tokens) return chunk;
  return shorter_.back();
}

size_t LinearXent::gathered_bytes() const {
  const auto tokens = static_cast<size_t>(shape_.tokens), chunk = static_cast<size_t>(chunk_);
  return aligned(sizeof(int32_t) * tokens) + 2 * aligned(chunk * static_cast<size_t>(row_bytes())) +
         4 * aligned(sizeof(float) * chunk);
}

void LinearXent::run_some(ThreadPool& pool, const LinearXentArrays& arrays,
                          std::span<const int32_t> tokens, char* scratch) const {
  const auto row = static_cast<size_t>(row_bytes()), chunk = static_cast<size_t>(chunk_);
  const auto take = [&](size_t bytes) { return std::exchange(scratch, scratch + aligned(bytes)); };
  char* const h = take(chunk * row);
  char* const dh = take(chunk * row);
  auto* const targets = reinterpret_cast<int32_t*>(take(sizeof(int32_t) * chunk));
  auto* const scale = reinterpret_cast<float*>(take(sizeof(float) * chunk));
  auto* const loss = reinterpret_cast<float*>(take(sizeof(float) * chunk));
  auto* const term = reinterpret_cast<float*>(take(sizeof(float) * chunk));
  const LinearXentArrays gathered = {h,    arrays.weight, targets, scale,
                                     loss, term,          dh,      arrays.dweight};
  std::fill_n(arrays.token_loss, shape_.tokens, 0.0f);
  std::fill_n(arrays.term, shape_.tokens, 0.0f);
  if (arrays.dh != nullptr) std::memset(arrays.dh, 0, static_cast<size_t>(shape_.tokens) * row);
  if (gradients_ == XentGradients::kBoth && tokens.empty())
    std::fill_n(arrays.dweight, shape_.vocab * shape_.embed, 0.0f);
  for (Store store = Store::kOverwrite; !tokens.empty(); store = Store::kAdd) {
    const Chunk& of = chunk_for(tokens.size());
    const auto length = static_cast<size_t>(of.tokens), count = std::min(length, tokens.size());
    for (size_t i = 0; i < count; ++i) {
      const LinearXentArrays token = from(arrays, tokens[i]);
      std::memcpy(h + i * row, token.h, row);
      targets[i] = *token.targets;
      scale[i] = *token.token_scale;
    }
    std::memset(h + count * row, 0, (length - count) * row);
    std::fill(targets + count, targets + length, 0);
    std::fill(scale + count, scale + length, 0.0f);
    run_chunk(pool, of, gathered, store, scratch);
    for (size_t i = 0; i < count; ++i) {
      const LinearXentArrays token = from(arrays, tokens[i]);
      *token.token_loss = loss[i];
      *token.term = term[i];
      if (arrays.dh != nullptr) std::memcpy(token.dh, dh + i * row, row);
    }
    tokens = tokens.subspan(count);
  }
}

void LinearXent::run(ThreadPool& pool, const LinearXentArrays& arrays, void* scratch) const {
  check_targets(arrays);
  auto* const memory = static_cast<char*>(scratch);
  if (!leaves_out()) return run_all(pool, arrays, memory);
  auto* const tokens = static_cast<int32_t*>(scratch);
  int64_t count = 0;
  for (int32_t t = 0; t < shape_.tokens; ++t)
    if (arrays.token_scale[t] != 0) tokens[count++] = t;
  const int64_t rows = round_up(count, shorter_.back().tokens);
  if (shape_.tokens - rows < shape_.tokens / kWorthwhileShare) return run_all(pool, arrays, memory);
  run_some(pool, arrays, {tokens, static_cast<size_t>(count)},
           memory + aligned(sizeof(int32_t) * static_cast<size_t>(shape_.tokens)));
}

}  // namespace levanter::cpu

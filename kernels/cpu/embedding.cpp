// Counting sort of the positions by id (stable), then one task for each block of vocabulary rows.
// Plain twin: kernels/reference/scatter_add.cpp.
#include "kernels/cpu/embedding.h"

#include <algorithm>
#include <cstring>

#include "base/error.h"
#include "base/integers.h"
#include "kernels/cpu/vector.h"

namespace levanter::cpu {
namespace {

constexpr int64_t kTaskPositions =
    256;  ///< positions or rows that a worker claims at a time, about

size_t aligned(size_t bytes) { return round_up(bytes, 64); }

}  // namespace

size_t EmbeddingGradient::scratch_bytes() const {
  return aligned(sizeof(int32_t) * static_cast<size_t>(positions)) +
         aligned(sizeof(int32_t) * static_cast<size_t>(vocab + 1));
}

void EmbeddingGradient::run(ThreadPool& pool, const int32_t* ids, const float* dy, int64_t dy_row,
                            float* dweight, void* scratch) const {
  LEV_CHECK(positions < INT32_MAX, "too many positions for one embedding gradient");
  auto* const sorted = static_cast<int32_t*>(scratch);
  auto* const begins = reinterpret_cast<int32_t*>(
      static_cast<char*>(scratch) + aligned(sizeof(int32_t) * static_cast<size_t>(positions)));
  std::fill(begins, begins + vocab + 1, 0);
  const auto is_row = [this](int32_t id) { return id >= 0 && id < vocab; };
  for (int64_t i = 0; i < positions; ++i) {
    if (is_row(ids[i])) ++begins[ids[i]];
  }
  int32_t total = 0;
  for (int64_t v = 0; v <= vocab; ++v) {
    total += begins[v];
    begins[v] = total;  // where id v ends, until filling from the back moves it to where v begins
  }
  for (int64_t i = positions; i-- > 0;)
    if (is_row(ids[i])) sorted[--begins[ids[i]]] = static_cast<int32_t>(i);

  const VectorKernels& kernels = vector_kernels();
  const int64_t rows =
      std::clamp<int64_t>(kTaskPositions * vocab / (positions + vocab + 1), 1, kTaskPositions);
  pool.parallel_for(ceil_div(vocab, rows), [&](int64_t task, int) {
    const int64_t end = std::min(vocab, (task + 1) * rows);
    for (int64_t v = task * rows; v < end; ++v) {
      float* const row = dweight + v * width;
      std::memset(row, 0, sizeof(float) * static_cast<size_t>(width));
      for (int32_t at = begins[v]; at < begins[v + 1]; ++at) {
        kernels.add_to(row, dy + sorted[at] * dy_row, width);
      }
    }
  });
}

}  // namespace levanter::cpu

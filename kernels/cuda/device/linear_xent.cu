// The rows of a cross entropy: from the logits of a chunk of tokens to losses and the cotangents of
// the logits. See kernels/cuda/op_linear_xent.cpp.
#include "kernels/cuda/device/math.cuh"

namespace levanter::cuda::kernels {

/// The largest of some numbers, and the sum of e^(x - largest) over them.
struct Peak {
  float largest, sum;
};
inline Peak joined(const Peak& a, const Peak& b) {
  const float largest = a.largest < b.largest ? b.largest : a.largest;
  if (largest == -infinity()) return {largest, 0.0f};
  return {largest, a.sum * exp_real(a.largest - largest) + b.sum * exp_real(b.largest - largest)};
}

/// cap tanh(x / cap), or x without a cap.
inline float capped(float x, float cap) { return cap > 0.0f ? tanh_real(x / cap) * cap : x; }

/// Of the threads' peaks, in a tree of fixed shape.
inline Peak peak_of_block(Peak mine) {
  LEV_SHARED(float, largest, XentArguments::kMostThreads / 32);
  LEV_SHARED(float, sums, XentArguments::kMostThreads / 32);
  for (unsigned mask = 16; mask > 0; mask /= 2) {
    const Peak other = {__shfl_xor_sync(0xffffffffu, mine.largest, mask),
                        __shfl_xor_sync(0xffffffffu, mine.sum, mask)};
    // The same bits in both lanes: the one with the lower number is the first.
    mine = (threadIdx.x & mask) == 0 ? joined(mine, other) : joined(other, mine);
  }
  if (threadIdx.x % 32 == 0) {
    largest[threadIdx.x / 32] = mine.largest;
    sums[threadIdx.x / 32] = mine.sum;
  }
  __syncthreads();
  mine = {largest[0], sums[0]};
  for (int i = 1; i < int(blockDim.x) / 32; ++i) mine = joined(mine, {largest[i], sums[i]});
  return mine;
}

/// A block a token. The target's own logit stays out of the sum, so that 1 - p keeps its digits
/// where p is near 1. A target outside the vocabulary makes the loss NaN.
LEV_KERNEL_OF(xent_rows, XentArguments, XentArguments::kMostThreads) {
  const int64_t token = blockIdx.x;
  const float* const logits = a.logits + token * a.pitch;
  const int64_t target = a.targets[token];
  Peak mine = {-infinity(), 0.0f};
  for (int64_t first = int64_t(threadIdx.x) * 4; first < a.vocab;
       first += 4 * int64_t(blockDim.x)) {
    const Quad words = *reinterpret_cast<const Quad*>(logits + first);
    LEV_UNROLLED for (int i = 0; i < 4; ++i) {
      const int64_t v = first + i;
      if (v >= a.vocab || v == target) continue;
      const float x = capped(float_of(words.at[i]), a.soft_cap);
      if (mine.largest < x) {
        mine.sum = mine.sum * exp_real(mine.largest - x) + 1.0f;
        mine.largest = x;
      } else {
        mine.sum += x != x ? x : exp_real(x - mine.largest);
      }
    }
  }
  const Peak others = peak_of_block(mine);
  const bool inside = target >= 0 && target < a.vocab;
  const float own = inside ? capped(logits[target], a.soft_cap) : not_a_number();
  const Peak all = joined(others, {own, 1.0f});
  const float lse = all.largest + log_real(all.sum);
  const float scale = a.token_scale[token], loss = inside ? lse - own : own;
  if (threadIdx.x == 0) {
    a.token_loss[token] = a.scaled_only && scale == 0.0f ? 0.0f : loss;
    a.terms[token] = (loss + a.z_loss * lse * lse) * scale;
  }
  if (!a.gradients) return;
  // Where dlogits lie over the logits, all have read the target's.
  __syncthreads();
  const float of_others = others.sum * exp_real(others.largest - all.largest) / all.sum;
  const float of_lse = 2.0f * a.z_loss * lse;
  for (int64_t first = int64_t(threadIdx.x) * 4; first < a.vocab;
       first += 4 * int64_t(blockDim.x)) {
    const Quad words = *reinterpret_cast<const Quad*>(logits + first);
    LEV_UNROLLED for (int i = 0; i < 4; ++i) {
      const int64_t v = first + i;
      if (v >= a.vocab) continue;
      const float x = capped(float_of(words.at[i]), a.soft_cap);
      const float p = exp_real(x - lse);
      float d = ((v == target ? -of_others : p) + p * of_lse) * scale;
      if (a.soft_cap > 0.0f) d *= 1.0f - (x / a.soft_cap) * (x / a.soft_cap);
      store_real(a.dlogits, a.element, token * a.pitch + v, d);
    }
  }
}

}  // namespace levanter::cuda::kernels

// What the gradients of attention need of each query: delta = sum over head_dim of o do, a warp a
// row.
#include "kernels/cuda/device/attention.cuh"

namespace levanter::cuda::kernels {

LEV_KERNEL(attention_delta, AttentionArguments) {
  const int64_t heads = int64_t(a.heads) * a.groups, rows = a.batch * heads * a.queries;
  const int64_t index = int64_t(blockIdx.x) * (kThreads / 32) + warp_number();
  if (index >= rows) return;
  const int64_t row = index / a.queries, query = index - row * a.queries, batch = row / heads;
  const int in_batch = int(row - batch * heads);
  const AttentionHead head = {int(batch), in_batch / a.groups, in_batch % a.groups};
  const int64_t o = offset_of(a.o, head) + query * a.o.position;
  const int64_t d_o = offset_of(a.d_o, head) + query * a.d_o.position;
  float sum = 0;
  for (int d = lane_number(); d < a.head_dim; d += 32)
    sum = fmaf(load_real(a.o.data, a.element, o + d * a.o.dim),
               load_real(a.d_o.data, a.element, d_o + d * a.d_o.dim), sum);
  sum = combine_warp(sum, [](float x, float y) { return x + y; });
  if (lane_number() == 0) row_numbers(a.delta, head)[query * a.delta.position] = sum;
}

}  // namespace levanter::cuda::kernels

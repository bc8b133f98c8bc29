// Attention of bf16, heads of up to 128 elements.
#include "kernels/cuda/device/attention_kernels.cuh"

LEV_ATTENTION(bf16_128, uint16_t, 128)

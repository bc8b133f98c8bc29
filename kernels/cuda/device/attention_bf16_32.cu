// Attention of bf16, heads of up to 32 elements.
#include "kernels/cuda/device/attention_kernels.cuh"

LEV_ATTENTION(bf16_32, uint16_t, 32)

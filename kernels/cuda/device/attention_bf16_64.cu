// Attention of bf16, heads of up to 64 elements.
#include "kernels/cuda/device/attention_kernels.cuh"

LEV_ATTENTION(bf16_64, uint16_t, 64)

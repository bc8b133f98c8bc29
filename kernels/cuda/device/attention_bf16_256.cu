// Attention of bf16, heads of up to 256 elements.
#include "kernels/cuda/device/attention_kernels.cuh"

LEV_ATTENTION(bf16_256, uint16_t, 256)

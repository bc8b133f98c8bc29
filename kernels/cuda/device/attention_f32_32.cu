// Attention of f32, heads of up to 32 elements.
#include "kernels/cuda/device/attention_kernels.cuh"

LEV_ATTENTION(f32_32, float, 32)

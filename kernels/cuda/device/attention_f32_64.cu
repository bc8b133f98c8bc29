// Attention of f32, heads of up to 64 elements.
#include "kernels/cuda/device/attention_kernels.cuh"

LEV_ATTENTION(f32_64, float, 64)

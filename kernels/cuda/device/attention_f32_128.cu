// Attention of f32, heads of up to 128 elements.
#include "kernels/cuda/device/attention_kernels.cuh"

LEV_ATTENTION(f32_128, float, 128)

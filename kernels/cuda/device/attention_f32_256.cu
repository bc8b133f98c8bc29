// Attention of f32, heads of up to 256 elements.
#include "kernels/cuda/device/attention_kernels.cuh"

LEV_ATTENTION(f32_256, float, 256)

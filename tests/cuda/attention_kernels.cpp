// The kernels of attention for the emulated device; apart from the others, for there are many.
#include "cuda/simt.h"

#include "kernels/cuda/device/attention_bf16_128.cu"
#include "kernels/cuda/device/attention_bf16_256.cu"
#include "kernels/cuda/device/attention_bf16_32.cu"
#include "kernels/cuda/device/attention_bf16_64.cu"
#include "kernels/cuda/device/attention_f32_128.cu"
#include "kernels/cuda/device/attention_f32_256.cu"
#include "kernels/cuda/device/attention_f32_32.cu"
#include "kernels/cuda/device/attention_f32_64.cu"
#include "kernels/cuda/device/attention_rows.cu"

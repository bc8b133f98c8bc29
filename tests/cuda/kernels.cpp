// The kernels of the CUDA backend for the emulated device: the texts that the program embeds,
// compiled here.
#include "cuda/simt.h"

#include "kernels/cuda/device/cast.cu"
#include "kernels/cuda/device/dot.cu"
#include "kernels/cuda/device/index.cu"
#include "kernels/cuda/device/map.cu"
#include "kernels/cuda/device/random.cu"
#include "kernels/cuda/device/reduce.cu"
#include "kernels/cuda/device/xent.cu"

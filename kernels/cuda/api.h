// The libraries' functions that the backend calls, found when the program runs: the build needs the
// toolkit's headers only, and tests put others in their place.
#pragma once

#include <cuda.h>
#include <nvrtc.h>

namespace levanter::cuda {

/// Functions of libcuda, by the names of cuda.h.
struct Driver {
  decltype(&cuInit) init = nullptr;
  decltype(&cuGetErrorName) get_error_name = nullptr;
  decltype(&cuGetErrorString) get_error_string = nullptr;
  decltype(&cuDriverGetVersion) driver_get_version = nullptr;
  decltype(&cuDeviceGetCount) device_get_count = nullptr;
  decltype(&cuDeviceGet) device_get = nullptr;
  decltype(&cuDeviceGetName) device_get_name = nullptr;
  decltype(&cuDeviceGetUuid) device_get_uuid = nullptr;
  decltype(&cuDeviceGetAttribute) device_get_attribute = nullptr;
  decltype(&cuDevicePrimaryCtxRetain) primary_context_retain = nullptr;
  decltype(&cuDevicePrimaryCtxRelease) primary_context_release = nullptr;
  decltype(&cuCtxSetCurrent) context_set_current = nullptr;
  decltype(&cuMemGetInfo) memory_get_info = nullptr;
  decltype(&cuMemAlloc) memory_allocate = nullptr;
  decltype(&cuMemFree) memory_free = nullptr;
  decltype(&cuMemAllocHost) memory_allocate_host = nullptr;
  decltype(&cuMemFreeHost) memory_free_host = nullptr;
  decltype(&cuMemcpyHtoDAsync) copy_to_device = nullptr;
  decltype(&cuMemcpyDtoHAsync) copy_to_host = nullptr;
  decltype(&cuMemcpyDtoDAsync) copy_on_device = nullptr;
  decltype(&cuMemsetD8Async) memory_set = nullptr;
  decltype(&cuStreamCreate) stream_create = nullptr;
  decltype(&cuStreamDestroy) stream_destroy = nullptr;
  decltype(&cuStreamSynchronize) stream_synchronize = nullptr;
  decltype(&cuEventCreate) event_create = nullptr;
  decltype(&cuEventDestroy) event_destroy = nullptr;
  decltype(&cuEventRecord) event_record = nullptr;
  decltype(&cuEventQuery) event_query = nullptr;
  decltype(&cuEventSynchronize) event_synchronize = nullptr;
  decltype(&cuModuleLoadData) module_load_data = nullptr;
  decltype(&cuModuleUnload) module_unload = nullptr;
  decltype(&cuModuleGetFunction) module_get_function = nullptr;
  decltype(&cuFuncSetAttribute) function_set_attribute = nullptr;
  decltype(&cuLaunchKernel) launch_kernel = nullptr;
  decltype(&cuStreamBeginCapture) stream_begin_capture = nullptr;
  decltype(&cuStreamEndCapture) stream_end_capture = nullptr;
  decltype(&cuGraphInstantiateWithFlags) graph_instantiate = nullptr;
  decltype(&cuGraphDestroy) graph_destroy = nullptr;
  decltype(&cuGraphExecDestroy) graph_exec_destroy = nullptr;
  decltype(&cuGraphLaunch) graph_launch = nullptr;
};

/// Functions of libnvrtc, by the names of nvrtc.h.
struct Nvrtc {
  decltype(&nvrtcVersion) version = nullptr;
  decltype(&nvrtcGetErrorString) get_error_string = nullptr;
  decltype(&nvrtcCreateProgram) create_program = nullptr;
  decltype(&nvrtcDestroyProgram) destroy_program = nullptr;
  decltype(&nvrtcCompileProgram) compile_program = nullptr;
  decltype(&nvrtcGetCUBINSize) get_cubin_size = nullptr;
  decltype(&nvrtcGetCUBIN) get_cubin = nullptr;
  decltype(&nvrtcGetProgramLogSize) get_log_size = nullptr;
  decltype(&nvrtcGetProgramLog) get_log = nullptr;
};

struct CublasLt;  // kernels/cuda/cublas_lt.h
struct Cudnn;     // kernels/cuda/cudnn.h
struct Nccl;      // kernels/cuda/nccl.h

/// The libraries stay open until the program ends.
/// error  kDevice where the library is not there or lacks a function: what was looked for, where,
///        and how to get it
Driver open_driver();
Nvrtc open_nvrtc();
CublasLt open_cublas_lt();
/// Only in a program that was built with cuDNN's headers.
Cudnn open_cudnn();

}  // namespace levanter::cuda

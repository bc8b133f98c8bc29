// Opens libcuda, libnvrtc and libcublasLt and finds their functions.
#include "kernels/cuda/api.h"

#include "kernels/cuda/cublas_lt.h"
#include "kernels/cuda/library.h"

namespace levanter::cuda {

namespace {

constexpr const char* kDriverHint =
    "install NVIDIA's driver, release 525 or newer, or set trainer.device = \"cpu\"";
constexpr const char* kNvrtcHint =
    "install the CUDA toolkit's libnvrtc, release 12 or newer, and add its folder to "
    "LD_LIBRARY_PATH, or set trainer.device = \"cpu\"";
constexpr const char* kCublasLtHint =
    "install the CUDA toolkit's libcublasLt, release 12 or newer, and add its folder to "
    "LD_LIBRARY_PATH, or set trainer.device = \"cpu\"";

}  // namespace

Driver open_driver() {
  static constexpr const char* kFiles[] = {"libcuda.so.1"};
  const Library library{"NVIDIA's driver", kFiles, kDriverHint};
  const Functions functions(library);
  Driver d;
  functions.find(d.init, "cuInit");
  functions.find(d.get_error_name, "cuGetErrorName");
  functions.find(d.get_error_string, "cuGetErrorString");
  functions.find(d.driver_get_version, "cuDriverGetVersion");
  functions.find(d.device_get_count, "cuDeviceGetCount");
  functions.find(d.device_get, "cuDeviceGet");
  functions.find(d.device_get_name, "cuDeviceGetName");
  functions.find(d.device_get_uuid, "cuDeviceGetUuid_v2");
  functions.find(d.device_get_attribute, "cuDeviceGetAttribute");
  functions.find(d.primary_context_retain, "cuDevicePrimaryCtxRetain");
  functions.find(d.primary_context_release, "cuDevicePrimaryCtxRelease_v2");
  functions.find(d.context_set_current, "cuCtxSetCurrent");
  functions.find(d.memory_get_info, "cuMemGetInfo_v2");
  functions.find(d.memory_allocate, "cuMemAlloc_v2");
  functions.find(d.memory_free, "cuMemFree_v2");
  functions.find(d.memory_allocate_host, "cuMemAllocHost_v2");
  functions.find(d.memory_free_host, "cuMemFreeHost");
  functions.find(d.copy_to_device, "cuMemcpyHtoDAsync_v2");
  functions.find(d.copy_to_host, "cuMemcpyDtoHAsync_v2");
  functions.find(d.copy_on_device, "cuMemcpyDtoDAsync_v2");
  functions.find(d.memory_set, "cuMemsetD8Async");
  functions.find(d.stream_create, "cuStreamCreate");
  functions.find(d.stream_destroy, "cuStreamDestroy_v2");
  functions.find(d.stream_synchronize, "cuStreamSynchronize");
  functions.find(d.event_create, "cuEventCreate");
  functions.find(d.event_destroy, "cuEventDestroy_v2");
  functions.find(d.event_record, "cuEventRecord");
  functions.find(d.event_query, "cuEventQuery");
  functions.find(d.event_synchronize, "cuEventSynchronize");
  functions.find(d.module_load_data, "cuModuleLoadData");
  functions.find(d.module_unload, "cuModuleUnload");
  functions.find(d.module_get_function, "cuModuleGetFunction");
  functions.find(d.function_set_attribute, "cuFuncSetAttribute");
  functions.find(d.launch_kernel, "cuLaunchKernel");
  functions.find(d.stream_begin_capture, "cuStreamBeginCapture_v2");
  functions.find(d.stream_end_capture, "cuStreamEndCapture");
  functions.find(d.graph_instantiate, "cuGraphInstantiateWithFlags");
  functions.find(d.graph_destroy, "cuGraphDestroy");
  functions.find(d.graph_exec_destroy, "cuGraphExecDestroy");
  functions.find(d.graph_launch, "cuGraphLaunch");
  return d;
}

Nvrtc open_nvrtc() {
  static constexpr const char* kFiles[] = {"libnvrtc.so.13", "libnvrtc.so.12",
                                           "/usr/local/cuda/lib64/libnvrtc.so"};
  const Library library{"NVRTC, the compiler of its kernels", kFiles, kNvrtcHint};
  const Functions functions(library);
  Nvrtc n;
  functions.find(n.version, "nvrtcVersion");
  functions.find(n.get_error_string, "nvrtcGetErrorString");
  functions.find(n.create_program, "nvrtcCreateProgram");
  functions.find(n.destroy_program, "nvrtcDestroyProgram");
  functions.find(n.compile_program, "nvrtcCompileProgram");
  functions.find(n.get_cubin_size, "nvrtcGetCUBINSize");
  functions.find(n.get_cubin, "nvrtcGetCUBIN");
  functions.find(n.get_log_size, "nvrtcGetProgramLogSize");
  functions.find(n.get_log, "nvrtcGetProgramLog");
  return n;
}

CublasLt open_cublas_lt() {
  static constexpr const char* kFiles[] = {"libcublasLt.so.13", "libcublasLt.so.12",
                                           "/usr/local/cuda/lib64/libcublasLt.so"};
  const Library library{"cuBLASLt, the library of its products", kFiles, kCublasLtHint};
  const Functions functions(library);
  CublasLt l;
  functions.find(l.get_version, "cublasLtGetVersion");
  functions.find(l.get_status_string, "cublasLtGetStatusString");
  functions.find(l.create, "cublasLtCreate");
  functions.find(l.destroy, "cublasLtDestroy");
  functions.find(l.product_create, "cublasLtMatmulDescCreate");
  functions.find(l.product_destroy, "cublasLtMatmulDescDestroy");
  functions.find(l.product_set, "cublasLtMatmulDescSetAttribute");
  functions.find(l.layout_create, "cublasLtMatrixLayoutCreate");
  functions.find(l.layout_destroy, "cublasLtMatrixLayoutDestroy");
  functions.find(l.layout_set, "cublasLtMatrixLayoutSetAttribute");
  functions.find(l.preference_create, "cublasLtMatmulPreferenceCreate");
  functions.find(l.preference_destroy, "cublasLtMatmulPreferenceDestroy");
  functions.find(l.preference_set, "cublasLtMatmulPreferenceSetAttribute");
  functions.find(l.get_heuristic, "cublasLtMatmulAlgoGetHeuristic");
  functions.find(l.multiply, "cublasLtMatmul");
  return l;
}

}  // namespace levanter::cuda

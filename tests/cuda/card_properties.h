// Cards as cuDNN wants them described, to make plans for where there is none. The keys are those
// that the library asks for; a card writes its own by CUDNN_ATTR_DEVICEPROP_HANDLE.
#pragma once

#include <cstdint>
#include <string>

#include "base/strings.h"

namespace levanter::testing {

struct CardProperties {
  const char* name;
  int major;  ///< of the compute capability
  int multiprocessors;
  int64_t l2_bytes, most_shared_bytes;

  std::string json() const {
    return cat(R"({"deviceName":")", name, R"(","cudaDeviceId":0,"deviceVer":)", major * 100,
               R"(,"driverVer":13000,"maxGridSize":[2147483647,65535,65535],)",
               R"("maxBlockSize":[1024,1024,64],"regsPerBlock":65536,"multiProcessorCount":)",
               multiprocessors, R"(,"smClockRateKHz":1980000,"memClockRateKHz":3201000,)",
               R"("l2CacheSize":)", l2_bytes, R"(,"warpSize":32,"maxSharedMemoryPerBlock":49152,)",
               R"("maxSharedMemoryPerBlockOptin":)", most_shared_bytes,
               R"(,"reservedSharedMemoryPerBlock":1024,"maxRegistersPerSM":65536,)",
               R"("pciDeviceId":0,"maxCtasPerSM":32,"maxThreadsPerBlock":1024,)",
               R"("maxThreadsPerSM":2048,"isTccDriver":0,"supportCoopLaunch":1,)",
               R"("totalGlobalMem":150754820096})");
  }
};

inline constexpr CardProperties kCards[] = {
    {"NVIDIA H200", 9, 132, int64_t{60} << 20, 232448},
    {"NVIDIA A100", 8, 108, int64_t{40} << 20, 166912},
    {"NVIDIA B200", 10, 148, int64_t{126} << 20, 232448},
};

}  // namespace levanter::testing

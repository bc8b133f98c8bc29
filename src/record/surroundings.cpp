// Where a process runs and how it was called.
#include "record/surroundings.h"

#include <unistd.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <string>

#include "base/error.h"
#include "base/files.h"
#include "base/limits.h"
#include "base/strings.h"

extern char** environ;

namespace levanter::record {

namespace {

/// A variable counts whose name begins with one of these, or is one that ends in no underscore.
constexpr std::string_view kNames[] = {
    "LEVANTER_",
    "OMP_",
    "GOMP_",
    "KMP_",
    "DNNL_",
    "ONEDNN_",
    "CUDA_",
    "NVIDIA_",
    "NCCL_",
    "CUBLAS_",
    "CUBLASLT_",
    "CUDNN_",
    "MALLOC_",
    "GLIBC_",
    "UCX_",
    "LD_LIBRARY_PATH",
    "LD_PRELOAD",
    "XDG_CACHE_HOME",
    "TMPDIR",
    "SLURM_JOB_ID",
    "SLURM_JOB_NAME",
    "SLURM_NTASKS",
    "SLURM_PROCID",
    "SLURM_NODELIST",
    "SLURM_RESTART_COUNT",
    "SLURM_ARRAY_",
    "PBS_JOBID",
    "LSB_JOBID",
    "OMPI_COMM_WORLD_SIZE",
};
constexpr std::string_view kSecret[] = {"KEY", "TOKEN", "SECRET", "PASSW", "CREDENTIAL"};

/// The words of /proc/self/cmdline, each of which ends in a zero.
std::vector<std::string> command_line() {
  std::string text;
  try {
    text = read_file("/proc/self/cmdline");
  } catch (const Error&) {
    return {};
  }
  std::vector<std::string> words = split(text, '\0');
  if (!words.empty() && words.back().empty()) words.pop_back();
  return words;
}

std::string working_directory() {
  try {
    return absolute_path(".");
  } catch (const Error&) {
    return "";
  }
}

}  // namespace

bool matters(std::string_view variable) {
  for (const std::string_view word : kSecret)
    if (variable.find(word) != variable.npos) return false;
  return std::any_of(std::begin(kNames), std::end(kNames), [&](std::string_view name) {
    return name.ends_with('_') ? variable.starts_with(name) : variable == name;
  });
}

nlohmann::ordered_json surroundings() {
  nlohmann::ordered_json environment = nlohmann::ordered_json::object();
  for (char** entry = environ; entry && *entry; ++entry) {
    const std::string_view text = *entry;
    const size_t equals = text.find('=');
    if (equals == text.npos || !matters(text.substr(0, equals))) continue;
    environment[std::string(text.substr(0, equals))] = text.substr(equals + 1);
  }
  return {{"host", host_name()},
          {"processors", usable_processors()},
          {"pid", static_cast<int64_t>(::getpid())},
          {"command", command_line()},
          {"directory", working_directory()},
          {"environment", environment}};
}

}  // namespace levanter::record

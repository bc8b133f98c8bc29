// From the texts of kernels to functions of a card: compiled by NVRTC, kept on disk.
#pragma once

#include <functional>
#include <initializer_list>
#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "kernels/cuda/backend.h"
#include "kernels/cuda/device.h"
#include "kernels/cuda/texts.h"

namespace levanter::cuda {

/// What NVRTC makes of a program.
struct Compiled {
  std::string cubin, log;
};
/// Compiles a program for "sm_90" or the like.
/// error  kInternal with NVRTC's log
Compiled compile_program(const Nvrtc& nvrtc, const Program& program, std::string_view architecture);

/// The functions of one card's kernels. What is needed is said while functions are compiled, which
/// needs no card; all of it is made, in parallel, when the first kernel is asked for.
class Modules final {
 public:
  /// cache  a folder for compiled programs; "" for none
  Modules(std::function<Nvrtc()> open_nvrtc, std::string cache);
  Modules(const Modules&) = delete;
  Modules& operator=(const Modules&) = delete;

  /// The kernels of kernels/cuda/device/<program>.cu will be asked for. From any thread, as all.
  void need(std::string_view program);
  /// So will the kernel that `text` defines.
  void add(const std::string& kernel, std::string text);
  CUfunction function(const Device& device, const std::string& kernel);
  /// Gives back what the card holds of it.
  void unload(const Device& device);
  /// "nvrtc 13.0, kernels 0123456789abcdef": what the bits of results depend on.
  std::string signature();
  /// What is needed or added and not loaded yet, as NVRTC gets it.
  std::vector<Program> not_loaded() const;

 private:
  const Nvrtc& nvrtc();
  std::vector<Program> needed() const;
  void load_needed(const Device& device);
  std::string cubin_of(const Program& program, const std::string& architecture) const;
  /// The name of the program's file in the cache.
  std::string cache_file(const Program& program, const std::string& architecture) const;

  std::function<Nvrtc()> open_nvrtc_;
  std::string cache_;
  mutable std::mutex mutex_;
  std::optional<Nvrtc> nvrtc_;
  std::set<std::string, std::less<>> needed_;  ///< programs by the names of their files
  std::map<std::string, std::string> added_;   ///< texts of kernels that are not loaded yet
  std::set<std::string> loaded_;               ///< programs and added kernels
  std::vector<CUmodule> modules_;
  std::map<std::string, CUfunction> functions_;
};

/// Of these texts, and of how they are compiled.
std::string hash_of_kernels(std::initializer_list<std::span<const Text>> texts);

/// $XDG_CACHE_HOME/levanter/cuda, else that of ~/.cache; "" where neither is known.
std::string default_cache_folder();

}  // namespace levanter::cuda

// From the texts of kernels to functions of a card: compiled by NVRTC, kept on disk.
#include "kernels/cuda/modules.h"

#include <algorithm>
#include <cstdlib>

#include "base/error.h"
#include "base/files.h"
#include "base/hash.h"
#include "base/strings.h"
#include "base/threads.h"

namespace levanter::cuda {

namespace {

// No multiplication and addition become one but where the text says so, no denormal becomes zero.
constexpr const char* kOptions[] = {"--std=c++17", "--fmad=false", "-default-device",
                                    "--ptxas-options=-v"};

void require(const Nvrtc& nvrtc, nvrtcResult result, std::string_view what) {
  LEV_CHECK(result == NVRTC_SUCCESS, cat(what, ": ", nvrtc.get_error_string(result)));
}

/// A program of NVRTC's, destroyed with the object.
class NvrtcProgram {
 public:
  NvrtcProgram(const Nvrtc& nvrtc, const Program& program) : nvrtc_(nvrtc) {
    std::vector<const char*> names, contents;
    for (const Text& header : headers()) {
      names.push_back(header.name);
      contents.push_back(header.content);
    }
    require(nvrtc,
            nvrtc.create_program(&program_, program.text.c_str(), program.name.c_str(),
                                 static_cast<int>(names.size()), contents.data(), names.data()),
            cat("NVRTC takes ", program.name));
  }
  ~NvrtcProgram() { nvrtc_.destroy_program(&program_); }
  NvrtcProgram(const NvrtcProgram&) = delete;
  NvrtcProgram& operator=(const NvrtcProgram&) = delete;

  nvrtcProgram get() const { return program_; }
  std::string log() const {
    size_t bytes = 0;
    require(nvrtc_, nvrtc_.get_log_size(program_, &bytes), "NVRTC's log");
    std::string text(bytes, '\0');
    require(nvrtc_, nvrtc_.get_log(program_, text.data()), "NVRTC's log");
    while (!text.empty() && text.back() == '\0') text.pop_back();
    return text;
  }
  std::string cubin() const {
    size_t bytes = 0;
    require(nvrtc_, nvrtc_.get_cubin_size(program_, &bytes), "the size of a cubin");
    std::string cubin(bytes, '\0');
    require(nvrtc_, nvrtc_.get_cubin(program_, cubin.data()), "a cubin");
    return cubin;
  }

 private:
  const Nvrtc& nvrtc_;
  nvrtcProgram program_ = nullptr;
};

std::string version_of(const Nvrtc& nvrtc) {
  int major = 0, minor = 0;
  require(nvrtc, nvrtc.version(&major, &minor), "NVRTC's version");
  return cat(major, ".", minor);
}

/// A driver loads what its own release of CUDA or an older one has compiled.
void require_driver(const Nvrtc& nvrtc, const Device& device) {
  int major = 0, minor = 0;
  require(nvrtc, nvrtc.version(&major, &minor), "NVRTC's version");
  const int of_driver = device.driver_version() / 1000;
  if (major <= of_driver) return;
  throw Error(ErrorKind::kDevice, cat("NVRTC ", major, ".", minor,
                                      " compiles for newer drivers than "
                                      "this machine's, which knows CUDA ",
                                      of_driver))
      .hint(cat("update NVIDIA's driver, or put the folder of libnvrtc.so.", of_driver,
                " alone into LD_LIBRARY_PATH"));
}

void add_text(Hasher& hasher, std::string_view text) {
  const std::string sized = cat(text.size(), ":", text);  // no two lists run together alike
  hasher.update(std::as_bytes(std::span(sized.data(), sized.size())));
}

const Text& find_program(std::string_view name) {
  for (const Text& program : programs())
    if (file_stem(program.name) == name) return program;
  throw Error(ErrorKind::kInternal, cat("there are no kernels called ", name));
}

/// Generated kernels share programs: eight compile in less time than four alone.
constexpr size_t kKernelsOfProgram = 8;

/// The programs of generated kernels, each named by what it holds.
std::vector<Program> grouped(const std::map<std::string, std::string>& kernels) {
  std::vector<Program> programs;
  size_t count = 0;
  for (const auto& [name, text] : kernels) {
    if (count++ % kKernelsOfProgram == 0) programs.push_back({"", ""});
    programs.back().text += text;
  }
  for (Program& program : programs)
    program.name = cat("made_", hex64(xxh3_64(program.text)), ".cu");
  return programs;
}

// A cached file: this line, the hash of the rest, a line's end, the cubin.
constexpr std::string_view kMagic = "levanter cubin 1 ";
constexpr size_t kHashDigits = 16;

/// The cubin that a cached file holds; none where there is no such file or it is damaged.
std::optional<std::string> read_cached(const std::string& path) {
  if (!path_exists(path)) return std::nullopt;
  const std::string text = read_file(path);
  const size_t head = kMagic.size() + kHashDigits + 1;
  if (text.size() < head || !text.starts_with(kMagic)) return std::nullopt;
  const std::string_view cubin = std::string_view(text).substr(head);
  if (text.substr(kMagic.size(), kHashDigits) != hex64(xxh3_64(cubin))) return std::nullopt;
  return std::string(cubin);
}

}  // namespace

Compiled compile_program(const Nvrtc& nvrtc, const Program& program,
                         std::string_view architecture) {
  const NvrtcProgram made(nvrtc, program);
  const std::string target = cat("--gpu-architecture=", architecture);
  std::vector<const char*> options(std::begin(kOptions), std::end(kOptions));
  options.push_back(target.c_str());
  const nvrtcResult result =
      nvrtc.compile_program(made.get(), static_cast<int>(options.size()), options.data());
  Compiled compiled{"", made.log()};
  LEV_CHECK(result == NVRTC_SUCCESS,
            cat("NVRTC does not compile ", program.name, " for ", architecture, ": ",
                nvrtc.get_error_string(result), "\n", compiled.log));
  compiled.cubin = made.cubin();
  return compiled;
}

Modules::Modules(std::function<Nvrtc()> open_nvrtc, std::string cache)
    : open_nvrtc_(std::move(open_nvrtc)), cache_(std::move(cache)) {}

const Nvrtc& Modules::nvrtc() {
  if (!nvrtc_) nvrtc_ = open_nvrtc_();
  return *nvrtc_;
}

void Modules::need(std::string_view program) {
  const std::lock_guard lock(mutex_);
  needed_.emplace(find_program(program).name);
}

void Modules::add(const std::string& kernel, std::string text) {
  const std::lock_guard lock(mutex_);
  added_[kernel] = std::move(text);
}

std::vector<Program> Modules::needed() const {
  std::map<std::string, std::string> made;
  std::vector<Program> needed;
  for (const auto& [kernel, text] : added_)
    if (!loaded_.contains(kernel)) made[kernel] = text;
  for (const std::string& name : needed_)
    if (!loaded_.contains(name)) needed.push_back({name, find_program(file_stem(name)).content});
  for (Program& program : grouped(made)) needed.push_back(std::move(program));
  return needed;
}

std::vector<Program> Modules::not_loaded() const {
  const std::lock_guard lock(mutex_);
  return needed();
}

void Modules::load_needed(const Device& device) {
  const std::vector<Program> programs = needed();
  if (programs.empty()) return;
  std::vector<std::string> cubins(programs.size());
  require_driver(nvrtc(), device);
  ThreadPool pool(std::min(available_threads(), static_cast<int>(programs.size())));
  pool.parallel_for(static_cast<int64_t>(programs.size()), [&](int64_t i, int) {
    cubins[static_cast<size_t>(i)] =
        cubin_of(programs[static_cast<size_t>(i)], device.architecture());
  });
  for (size_t i = 0; i < programs.size(); ++i) {
    CUmodule module = nullptr;
    device.require(device.driver().module_load_data(&module, cubins[i].data()),
                   cat("load ", programs[i].name));
    modules_.push_back(module);
  }
  for (const std::string& name : needed_) loaded_.insert(name);
  for (const auto& [kernel, text] : added_) loaded_.insert(kernel);
}

CUfunction Modules::function(const Device& device, const std::string& kernel) {
  const std::lock_guard lock(mutex_);
  if (const auto found = functions_.find(kernel); found != functions_.end()) return found->second;
  device.enter();
  load_needed(device);
  for (CUmodule module : modules_) {
    CUfunction function = nullptr;
    const CUresult result = device.driver().module_get_function(&function, module, kernel.c_str());
    if (result == CUDA_ERROR_NOT_FOUND) continue;
    device.require(result, cat("find kernel ", kernel));
    return functions_[kernel] = function;
  }
  throw Error(ErrorKind::kInternal, cat("there is no kernel called ", kernel));
}

void Modules::unload(const Device& device) {
  const std::lock_guard lock(mutex_);
  device.driver().context_set_current(device.context());
  device.driver().stream_synchronize(device.stream());  // after an error kernels may still run
  for (CUmodule module : modules_) device.driver().module_unload(module);
  modules_.clear();
  functions_.clear();
}

std::string Modules::cubin_of(const Program& program, const std::string& architecture) const {
  const std::string file = cache_file(program, architecture);
  if (!file.empty())
    if (std::optional<std::string> cached = read_cached(file)) return *cached;
  const std::string cubin = compile_program(*nvrtc_, program, architecture).cubin;
  if (file.empty()) return cubin;
  try {
    make_directories(cache_);
    write_file_atomic(file, cat(kMagic, hex64(xxh3_64(cubin)), "\n", cubin));
  } catch (const Error&) {  // a disk that is full or read-only: compiled again next time
  }
  return cubin;
}

std::string Modules::cache_file(const Program& program, const std::string& architecture) const {
  if (cache_.empty()) return "";
  Hasher hasher(Hasher::Width::k128);
  for (const Text& header : headers()) add_text(hasher, header.content);
  add_text(hasher, program.text);
  for (const char* option : kOptions) add_text(hasher, option);
  add_text(hasher, architecture);
  add_text(hasher, version_of(*nvrtc_));
  return join_path(cache_, hasher.hex() + ".cubin");
}

std::string Modules::signature() {
  const std::lock_guard lock(mutex_);
  return cat("nvrtc ", version_of(nvrtc()), ", kernels ",
             hash_of_kernels({headers(), programs(), generators()}));
}

std::string hash_of_kernels(std::initializer_list<std::span<const Text>> texts) {
  Hasher hasher(Hasher::Width::k64);
  for (const std::span<const Text> part : texts)
    for (const Text& text : part) add_text(hasher, text.content);
  for (const char* option : kOptions) add_text(hasher, option);
  return hasher.hex();
}

std::string default_cache_folder() {
  for (const auto& [variable, below] :
       {std::pair{"XDG_CACHE_HOME", "levanter/cuda"}, std::pair{"HOME", ".cache/levanter/cuda"}})
    if (const char* folder = std::getenv(variable); folder && *folder)
      return join_path(folder, below);
  return "";
}

}  // namespace levanter::cuda

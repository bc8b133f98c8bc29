// The host's compiler in the place of NVRTC's.
#include "cuda/host_compiler.h"

#include <dlfcn.h>

#include <cstdlib>
#include <map>
#include <mutex>

#include "base/error.h"
#include "base/files.h"
#include "base/strings.h"
#include "support/source_root.h"
#include "support/temporary_folder.h"

namespace levanter::testing {

namespace {

void compile(const std::string& name, const std::string& text,
             const std::vector<std::pair<std::string, std::string>>& headers) {
  const TemporaryFolder folder;
  for (const auto& [header, content] : headers) {
    const std::string path = folder / header;
    make_directories(path.substr(0, path.rfind('/')));
    write_file_atomic(path, content);
  }
  write_file_atomic(folder / name, text);
  const std::string library = folder / "kernels.so", log = folder / "log";
  const std::string command =
      cat("c++ -x c++ -std=c++20 -O1 -w -ffp-contract=off -fPIC -shared -include ", source_root(),
          "/tests/cuda/simt_kernel.h", " -I", folder.path(), " ", folder / name, " -o ", library,
          " 2> ", log);
  if (std::system(command.c_str()) != 0)
    throw Error(ErrorKind::kInternal, cat("the compiler refuses ", name, ":\n", read_file(log)));
  // For good: kernels that are known by name stay known.
  if (!::dlopen(library.c_str(), RTLD_NOW | RTLD_LOCAL))
    throw Error(ErrorKind::kInternal, cat("cannot load ", name, ": ", ::dlerror()));
}

}  // namespace

void host_compile(const std::string& name, const std::string& text,
                  const std::vector<std::pair<std::string, std::string>>& headers) {
  static std::mutex mutex;
  static std::map<std::string, std::once_flag> compiled;
  mutex.lock();
  std::once_flag& once = compiled[name];
  mutex.unlock();
  // Who comes while another compiles the same program waits for it.
  std::call_once(once, [&] { compile(name, text, headers); });
}

}  // namespace levanter::testing

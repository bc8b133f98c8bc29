// The texts of kernels that are made while the program runs, compiled by the host's compiler for
// the emulated device.
#pragma once

#include <string>
#include <utility>
#include <vector>

namespace levanter::testing {

/// Compiles `text` and loads it, after which simt::find_kernel knows its kernels; once a name.
///   headers  names as an #include writes them, and contents
/// error  kInternal with what the compiler says
void host_compile(const std::string& name, const std::string& text,
                  const std::vector<std::pair<std::string, std::string>>& headers);

}  // namespace levanter::testing

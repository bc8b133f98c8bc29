// An NVRTC whose programs are what the emulated cards run.
#include <cstring>

#include "base/error.h"
#include "base/strings.h"
#include "cuda/fake_machine.h"
#include "cuda/host_compiler.h"

namespace levanter::testing::fake {

namespace {

/// Programs are compiled by several threads.
Program& program_of(nvrtcProgram handle) {
  const std::lock_guard lock(machine->mutex);
  auto* const program = reinterpret_cast<Program*>(handle);
  LEV_CHECK(machine->programs.contains(program), "a program that NVRTC has not made");
  return *program;
}

nvrtcResult compile(nvrtcProgram handle, int count, const char* const* options) {
  const std::vector<std::string> given(options, options + count);
  const std::string target = cat("--gpu-architecture=sm_", machine->major, "0");
  for (const std::string& wanted : {target, std::string("--fmad=false")})
    if (std::find(given.begin(), given.end(), wanted) == given.end())
      return NVRTC_ERROR_INVALID_OPTION;
  Program& program = program_of(handle);
  if (program.name.starts_with("made_")) host_compile(program.name, program.text, program.headers);
  program.compiled = true;
  const std::lock_guard lock(machine->mutex);
  ++machine->compilations;
  return NVRTC_SUCCESS;
}

std::string cubin_of(nvrtcProgram handle) {
  const Program& program = program_of(handle);
  LEV_CHECK(program.compiled, "a program that is not compiled has no cubin");
  return cat(kCubin, program.name, '\0');
}

}  // namespace

cuda::Nvrtc nvrtc() {
  cuda::Nvrtc n;
  n.version = [](int* major, int* minor) {
    *major = 13;
    *minor = 0;
    return NVRTC_SUCCESS;
  };
  n.get_error_string = [](nvrtcResult) { return "as the fake was told"; };
  n.create_program = [](nvrtcProgram* program, const char* text, const char* name, int count,
                        const char* const* headers, const char* const* names) {
    auto* const made = new Program{name, text, {}};
    for (int i = 0; i < count; ++i) made->headers.emplace_back(names[i], headers[i]);
    const std::lock_guard lock(machine->mutex);
    *program = reinterpret_cast<nvrtcProgram>(*machine->programs.insert(made).first);
    return NVRTC_SUCCESS;
  };
  n.destroy_program = [](nvrtcProgram* program) {
    Program& living = program_of(*program);
    const std::lock_guard lock(machine->mutex);
    machine->programs.erase(&living);
    delete &living;
    return NVRTC_SUCCESS;
  };
  n.compile_program = compile;
  n.get_cubin_size = [](nvrtcProgram program, size_t* bytes) {
    *bytes = cubin_of(program).size();
    return NVRTC_SUCCESS;
  };
  n.get_cubin = [](nvrtcProgram program, char* to) {
    const std::string cubin = cubin_of(program);
    std::memcpy(to, cubin.data(), cubin.size());
    return NVRTC_SUCCESS;
  };
  n.get_log_size = [](nvrtcProgram, size_t* bytes) {
    *bytes = 1;
    return NVRTC_SUCCESS;
  };
  n.get_log = [](nvrtcProgram, char* to) {
    *to = '\0';
    return NVRTC_SUCCESS;
  };
  return n;
}

}  // namespace levanter::testing::fake

// The real NVRTC takes the kernels' texts, for each kind of card; skipped where it is not there.
#include "kernels/cuda/modules.h"
#include "support/checks.h"

using namespace levanter;
using namespace levanter::testing;

TEST_CASE("NVRTC compiles every kernel for sm_80 to sm_120, without spilled registers", "[cuda]") {
  cuda::Nvrtc nvrtc;
  const std::string absent = error_of([&] { nvrtc = cuda::open_nvrtc(); });
  if (!absent.empty()) {
    WARN("skipped: " << absent);
    return;
  }
  for (const char* architecture : {"sm_80", "sm_90a", "sm_100", "sm_120"})
    for (const cuda::Text& text : cuda::programs()) {
      const cuda::Program program{text.name, text.content};
      INFO(program.name << " for " << architecture);
      cuda::Compiled compiled;
      CHECK(error_of([&] { compiled = cuda::compile_program(nvrtc, program, architecture); }) ==
            "");
      CHECK(compiled.cubin.size() > 1000);
      CHECK_THAT(compiled.log, Catch::Contains("0 bytes spill stores"));
      for (size_t at = compiled.log.find(" bytes spill"); at != std::string::npos;
           at = compiled.log.find(" bytes spill", at + 1))
        CHECK(compiled.log.substr(at - 2, 2) == " 0");
    }
}

TEST_CASE("a text that NVRTC does not take is an error with its log", "[cuda]") {
  cuda::Nvrtc nvrtc;
  if (!error_of([&] { nvrtc = cuda::open_nvrtc(); }).empty()) return;
  const cuda::Program wrong{"wrong.cu", "int wrong() { return nothing; }"};
  CHECK_THAT(error_of([&] { cuda::compile_program(nvrtc, wrong, "sm_90"); }),
             Catch::Contains("wrong.cu for sm_90") && Catch::Contains("nothing"));
}

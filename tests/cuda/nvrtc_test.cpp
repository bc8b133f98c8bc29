// The real NVRTC takes the kernels' texts, for each kind of card; skipped where it is not there.
#include <optional>

#include "kernels/cuda/modules.h"
#include "support/checks.h"

using namespace levanter;
using namespace levanter::testing;

namespace {

constexpr const char* kArchitectures[] = {"sm_80", "sm_90a", "sm_100", "sm_120"};

/// NVRTC, or none where it is not there.
std::optional<cuda::Nvrtc> find_nvrtc() {
  std::optional<cuda::Nvrtc> nvrtc;
  const std::string absent = error_of([&] { nvrtc = cuda::open_nvrtc(); });
  if (!nvrtc) WARN("skipped: " << absent);
  return nvrtc;
}

/// How often `after` follows a number other than 0.
int count_numbers(const std::string& text, std::string_view after) {
  int count = 0;
  for (size_t at = text.find(after); at != std::string::npos; at = text.find(after, at + 1))
    count += text.substr(at - 2, 2) != " 0";
  return count;
}

/// Whether a text is a variant of attention, which take seconds each.
bool is_variant(const cuda::Text& text) {
  const std::string_view name = text.name;
  return name.find("attention_bf16") != name.npos || name.find("attention_f32") != name.npos;
}

/// The text is taken, and no kernel needs more registers than there are.
void check_text(const cuda::Nvrtc& nvrtc, const cuda::Text& text, const char* architecture) {
  const cuda::Program program{text.name, text.content};
  INFO(program.name << " for " << architecture);
  cuda::Compiled compiled;
  CHECK(error_of([&] { compiled = cuda::compile_program(nvrtc, program, architecture); }) == "");
  CHECK(compiled.cubin.size() > 1000);
  CHECK_THAT(compiled.log, Catch::Contains("0 bytes spill stores"));
  CHECK(count_numbers(compiled.log, " bytes spill") == 0);
  if (is_variant(text) || program.name.find("grouped_dot") != std::string::npos)
    CHECK(count_numbers(compiled.log, " bytes stack frame") == 0);
}

}  // namespace

TEST_CASE("NVRTC compiles every kernel, without spilled registers", "[cuda][nvrtc]") {
  const auto nvrtc = find_nvrtc();
  if (!nvrtc) return;
  size_t next = 0;
  for (const cuda::Text& text : cuda::programs())
    if (!is_variant(text) || std::string_view(text.name).find("bf16_64") != std::string_view::npos)
      check_text(*nvrtc, text, kArchitectures[next++ % std::size(kArchitectures)]);
}

TEST_CASE("NVRTC compiles every kernel for each kind of card", "[cuda][nvrtc][.slow]") {
  const auto nvrtc = find_nvrtc();
  if (!nvrtc) return;
  size_t variants = 0;
  for (const cuda::Text& text : cuda::programs()) {
    if (is_variant(text)) {  // which take seconds: each for one kind, the kinds in turn
      check_text(*nvrtc, text, kArchitectures[variants++ % std::size(kArchitectures)]);
      continue;
    }
    for (const char* architecture : kArchitectures) check_text(*nvrtc, text, architecture);
  }
}

TEST_CASE("a text that NVRTC does not take is an error with its log", "[cuda][nvrtc]") {
  cuda::Nvrtc nvrtc;
  if (!error_of([&] { nvrtc = cuda::open_nvrtc(); }).empty()) return;
  const cuda::Program wrong{"wrong.cu", "int wrong() { return nothing; }"};
  CHECK_THAT(error_of([&] { cuda::compile_program(nvrtc, wrong, "sm_90"); }),
             Catch::Contains("wrong.cu for sm_90") && Catch::Contains("nothing"));
}

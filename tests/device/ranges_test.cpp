// Ranges as a profiler sees them: a library that is named like one writes down what it is told.
#include "device/ranges.h"

#include <cstdlib>

#include "base/files.h"
#include "base/strings.h"
#include "support/program.h"

#include <catch2/catch.hpp>

using namespace levanter;
using namespace levanter::testing;

namespace {

/// Exports what NVTX asks of a profiler, as nvtx3/nvtxDetail/nvtxTypes.h has it, and writes the
/// name of each range, as far to the right as it is deep.
constexpr const char* kListener = R"(
#include <stdio.h>
#include <stdlib.h>
struct Callbacks { size_t size; int (*get_table)(unsigned module, void**** table, unsigned* size); };
static _Thread_local int depth;
static int push(const char* name) {
  FILE* out = fopen(getenv("RANGES"), "a");
  fprintf(out, "%*s%s\n", 2 * depth, "", name);
  fclose(out);
  return depth++;
}
static int pop(void) { return --depth; }
int InitializeInjectionNvtx2(const void* (*get)(unsigned)) {
  const struct Callbacks* callbacks = get(1);  // NVTX_ETID_CALLBACKS
  void*** table = 0;
  unsigned size = 0;
  if (!callbacks->get_table(1, &table, &size) || size <= 11) return 0;  // NVTX_CB_MODULE_CORE
  *table[9] = (void*)push;  // NVTX_CBID_CORE_RangePushA
  *table[11] = (void*)pop;
  return 1;
}
)";

/// Without what threads beside the rank's own say, whose lines may stand between any two.
std::string without_threads(const std::string& ranges) {
  std::string out;
  for (const std::string& line : split(ranges, '\n'))
    if (line != "make a batch" && line != "log" && line != "write a checkpoint")
      out += cat(line, "\n");
  return out;
}

}  // namespace

TEST_CASE("a profiler is shown steps, microbatches, functions and their nodes by module",
          "[device]") {
#if __has_include(<nvtx3/nvToolsExt.h>)
  const SmallRun run;
  const std::string listener = run / "listener.so", source = run / "listener.c";
  write_file_atomic(source, kListener);
  REQUIRE(std::system(cat("cc -w -shared -fPIC -o ", listener, " ", source).c_str()) == 0);
  const Ended ended = run.train(
      {"--trainer.num_train_steps=1"},
      {.environment = {cat("NVTX_INJECTION64_PATH=", listener), cat("RANGES=", run / "ranges")}});
  CHECK(ended.code == 0);
  const std::string ranges = without_threads(read_file(run / "ranges"));
  CHECK_THAT(ranges, Catch::StartsWith("levanter\n"));
  CHECK_THAT(ranges, Catch::Contains("\nstep of 1\n  wait for data\n  microbatch\n"));
  CHECK_THAT(ranges, Catch::Contains("\n    gradients\n      "));
  CHECK_THAT(ranges, Catch::Contains("\n  update\n    "));
  CHECK_THAT(ranges, Catch::Contains("\n      linear_xent of "));
#endif
}

TEST_CASE("without a profiler no range is shown", "[device]") {
  CHECK_FALSE(ranges_are_shown());
  const Range range("nobody");
}

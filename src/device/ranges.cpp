// Ranges through NVTX, whose headers look for a profiler when the first one begins, and into
// traces.
#include "device/ranges.h"

#include <string>

#include "base/strings.h"
#include "device/tracing.h"

#if __has_include(<nvtx3/nvToolsExt.h>)
#include <nvtx3/nvToolsExt.h>
#define LEV_HAS_NVTX 1
#else
#define LEV_HAS_NVTX 0
#endif

namespace levanter {

namespace {

#if LEV_HAS_NVTX

bool profiler_listens() {
  static const bool listens = [] {
    const bool heard = nvtxRangePushA("levanter") != NVTX_NO_PUSH_POP_TRACKING;
    if (heard) nvtxRangePop();
    return heard;
  }();
  return listens;
}
void push(const char* name) { nvtxRangePushA(name); }
void pop() { nvtxRangePop(); }

#else

bool profiler_listens() { return false; }
void push(const char*) {}
void pop() {}

#endif

}  // namespace

struct Range::Open {
  bool pushed = false, traced = false;
};

bool ranges_are_shown() { return trace::is_shown() || profiler_listens(); }

void Range::open(const char* name, std::string_view detail) {
  auto open = std::make_unique<Open>();
  if (profiler_listens()) {
    push(detail.empty() ? name : cat(name, " of ", detail).c_str());
    open->pushed = true;
  }
  open->traced = trace::begin(name, detail);
  open_.reset(open.release());
}

void Range::Closer::operator()(Open* open) const {
  const std::unique_ptr<Open> range(open);
  if (range->pushed) pop();
  if (range->traced) trace::end();
}

}  // namespace levanter

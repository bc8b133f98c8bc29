// Counts what the test program takes from the heap.
#pragma once

#include <cstdint>

namespace levanter::testing {

/// Calls of operator new by this thread since it began.
int64_t allocations();

}  // namespace levanter::testing

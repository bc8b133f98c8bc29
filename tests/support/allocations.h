// Counts what the test program takes from the heap.
#pragma once

#include <cstdint>

namespace levanter::testing {

/// Calls of operator new by this thread since it began.
int64_t allocations();

/// The most bytes that any thread has taken in one call of operator new since the last call of
/// this.
int64_t largest_allocation();

/// Leaves out from now on the calls made by code of the shared library whose file name contains
/// `name`; false when no such library is loaded. One library at a time.
bool ignore_allocations_of(const char* name);

}  // namespace levanter::testing

// The emulated device: blocks of threads on fibers.
#pragma once

#include <cmath>
#include <cstring>
#include <string>
#include <string_view>

#include "cuda/simt_kernel.h"

namespace levanter::simt {

/// Which of the warps with threads that can go on does so, as far as it can: a kernel whose bits
/// differ lacks a barrier.
enum class Order { kForward, kBackward, kRandom };

/// Null for a name that no text has defined. program: the name of the text's file, without its
/// ending; "" for any.
const Kernel* find_kernel(std::string_view name, std::string_view program = "");

/// The shared memory that a kernel names itself, as much as a block of any card has of it.
inline constexpr size_t kMostNamedShared = 48 << 10;

/// Runs every block of the grid. Error kInternal when threads wait for each other, telling where.
void launch(const Kernel& kernel, Dim grid, Dim block, size_t dynamic_shared_bytes,
            const void* arguments, Order order);

}  // namespace levanter::simt

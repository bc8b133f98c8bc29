// Live buffers as people read them: those of equal modules together.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "runtime/executable.h"

namespace levanter {

/// Buffers that the same op makes at the same place of equal modules.
struct BufferGroup {
  int64_t bytes = 0;  ///< of all of them
  int count = 0;
  std::string op, where;  ///< "gelu", "transformer.h.*.mlp, src/models/gpt2.cpp:52"
};

/// A place with the numbers in its module path replaced by "*".
std::string module_kind(std::string_view where);

/// The buffers by op and module_kind, the largest group first.
std::vector<BufferGroup> group_buffers(std::span<const LiveBuffer> buffers);

}  // namespace levanter

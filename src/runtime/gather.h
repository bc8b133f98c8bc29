// What a run of a compiled function asks for where it reads arrays that other ranks hold.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

namespace levanter {

/// The arrays of one `all_gather`: the names of the function's arguments, and their bytes.
struct Gather {
  std::vector<std::string> names;
  std::vector<size_t> bytes;
  bool operator==(const Gather&) const = default;
};

/// Where the arrays come from. All ranks make the same calls in the same order.
class GatherSource {
 public:
  virtual ~GatherSource() = default;
  /// Begins to fill `whole`, an address for each array; `held` are those that this rank has, null
  /// for the others. Both, and the gather, stay until it is finished.
  virtual void start(const Gather& gather, const void* const* held, void* const* whole) = 0;
  /// Returns when the first of the gathers begun and not finished is done.
  /// error  what the exchange has thrown
  virtual void finish() = 0;
};

}  // namespace levanter

// The arrays of a microbatch that compiled functions read: which, where, and what fills them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <string>
#include <vector>

#include "base/random.h"
#include "infer/trace.h"
#include "runtime/executable.h"

namespace levanter::infer {

/// The arrays lie one after the other, each from a multiple of 64 bytes, in the order of the
/// examples' fields (data/rows/example.h), then the keys of the rows.
class BatchLayout {
 public:
  BatchLayout() = default;
  /// What the readers (those that are not null) have among their arguments.
  explicit BatchLayout(std::initializer_list<const Executable*> readers);

  int64_t bytes() const { return bytes_; }
  /// Writes the arrays of `rows` to the host's `image`, which has bytes(); f32 and i32.
  ///   step_key  what the keys of the rows are folded from
  void load(const Rows& rows, Key step_key, std::byte* image) const;
  /// Says where the arrays are in `memory`.
  void add_places(std::byte* memory, Addresses& addresses) const;

 private:
  struct Place {
    std::string name;
    Type type;
    int64_t offset;
  };
  const Place* find(std::string_view name) const;

  std::vector<Place> places_;
  int64_t bytes_ = 0;
};

}  // namespace levanter::infer

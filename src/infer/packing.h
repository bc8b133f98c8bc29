// The packed forms of parameters that compiled functions read: which, where, and what makes them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <vector>

#include "nn/scope.h"
#include "runtime/executable.h"

namespace levanter::infer {

/// Packed parameters lie one after the other, each from a multiple of 64 bytes, in the parameters'
/// own order.
class Packing {
 public:
  Packing() = default;
  /// What the readers' hoisted functions (see hoist_packs) have among their arguments. `held`:
  /// which parameters are here, where not all are.
  Packing(const std::vector<nn::Param>& params, std::initializer_list<const Executable*> readers,
          const std::vector<bool>& held = {});

  bool empty() const { return packed_.empty(); }
  int64_t bytes() const { return bytes_; }
  /// Indices of the parameters that are packed.
  std::vector<size_t> params() const;
  /// The function that packs, of these parameters.
  ///   arguments  the parameters
  ///   results    their packed forms
  enum class Which : uint8_t { kAll, kTrained, kFrozen };
  Function function(Which which = Which::kAll) const;
  /// Says where the packed forms are in `memory`, which has bytes().
  void add_places(std::byte* memory, Addresses& addresses) const;

 private:
  struct Packed {
    size_t param;
    std::string path;
    Type type;
    int64_t offset;
    bool trainable;
  };
  std::vector<Packed> packed_;
  int64_t bytes_ = 0;
};

}  // namespace levanter::infer

// A tensor in some memory, as checkpoints, exports and hashes see it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "axes/dtype.h"
#include "device/memory.h"

namespace levanter {

/// A handle to a tensor that somebody else owns: C order, unpadded, little-endian. Who gets one may
/// read it, or write it where the giver says so.
struct Tensor {
  std::string path;  ///< its name, unique over model and optimizer; a parameter's is Hugging Face's
  DType dtype = DType::f32;
  std::vector<int64_t> shape;
  std::byte* data = nullptr;
  const Memory* memory = &host_memory();  ///< what `data` is an address of
  /// Of some indices of a tensor's first axis: the first of them, and how many it has; 0: all are
  /// here.
  int64_t first_row = 0, all_rows = 0;

  int64_t elements() const {
    int64_t count = 1;
    for (const int64_t n : shape) count *= n;
    return count;
  }
  /// Of the tensor that these are rows of.
  std::vector<int64_t> whole_shape() const {
    std::vector<int64_t> whole = shape;
    if (all_rows > 0) whole[0] = all_rows;
    return whole;
  }
  int64_t bytes() const { return elements() * size_of(dtype); }
  /// The index of the first element in the tensor that these are rows of.
  int64_t first_element() const { return first_row == 0 ? 0 : first_row * elements() / shape[0]; }
  /// `count` of the indices of the first axis, from `first` on, of a tensor that has some.
  Tensor rows(int64_t first, int64_t count) const {
    Tensor some = *this;
    some.data += first * (bytes() / shape[0]);
    some.first_row += first;
    some.all_rows = whole_shape()[0];
    some.shape[0] = count;
    return some;
  }
};

}  // namespace levanter

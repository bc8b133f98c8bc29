// What a position of an example takes in memory.
#pragma once

#include <cstdint>

#include "data/rows/example.h"

namespace levanter::testing {

/// Of all arrays that every example has.
inline int64_t bytes_of_position() {
  const data::Example one(1);
  size_t bytes = 0;
  data::for_each_array(
      [&](const char*, auto field) { bytes += sizeof((one.*field)[0]) * (one.*field).size(); });
  return static_cast<int64_t>(bytes);
}

}  // namespace levanter::testing

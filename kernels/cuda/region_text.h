// The text of a kernel for a fused region.
#pragma once

#include <string>

#include "kernels/cuda/device.h"
#include "kernels/shared/region_program.h"

namespace levanter::cuda {

/// A kernel made for one region: sizes, strides and options are numbers in its text, so that equal
/// regions, such as those of a model's layers, are one kernel.
///
/// Where nothing is taken row by row, a thread takes a few neighbouring columns at a time. Where
/// rows are normed, a group of threads takes a row, a warp up to 1,024 columns and a block above,
/// and what later arithmetic needs of it stays in registers. Sums over rows are summed by blocks of
/// rows, and the blocks' sums in order: both are a function of the shape alone.
struct RegionText {
  explicit RegionText(const kernels::RegionProgram& program);

  std::string name, text;
  Grid grid;               ///< where `items` is 0
  int64_t items = 0;       ///< of a loop of the grid's threads
  int64_t sum_blocks = 0;  ///< of each sum: RegionArguments::sums is [sum, block, column]
};

/// Whether a region with rows of so many columns, that are normed, has a kernel.
bool takes_rows_of(int64_t width);

}  // namespace levanter::cuda

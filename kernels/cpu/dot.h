// A dot whose tiles something else takes while they are in the cache.
#pragma once

#include <functional>
#include <memory>

#include "kernels/cpu/gemm.h"
#include "kernels/cpu/kernel.h"

namespace levanter::cpu {

class TiledDot : public CpuKernel {
 public:
  using CpuKernel::CpuKernel;
  /// Whether the result, as it lies, is one matrix of `columns` columns; with `whole` also whether
  /// tiles are whole rows of it.
  virtual bool has_tiles(int64_t columns, bool whole) const = 0;
  /// Calls take(tile, worker) for each tile, on the pool. A tile may lie in `result`, where it will
  /// stay; with nullptr no result is written.
  virtual void run_tiles(const void* const* in, float* result, void* workspace,
                         const std::function<void(const Tile&, int)>& take) const = 0;
};

/// The kernel of a dot node of which no operand is empty.
std::unique_ptr<TiledDot> make_tiled_dot(Context& context, const KernelRequest& request);

}  // namespace levanter::cpu

// What the kernels of the CPU backend share: the pool, the compiled products, the vector table.
#pragma once

#include <algorithm>
#include <memory>
#include <vector>

#include "base/integers.h"
#include "base/threads.h"
#include "device/backend.h"
#include "kernels/cpu/onednn.h"
#include "kernels/cpu/vector.h"
#include "kernels/shared/strides.h"

namespace levanter::cpu {

using kernels::stride_of;

/// One of each for a backend; outlives its kernels.
struct Context {
  explicit Context(int threads) : pool(threads), products(threads), vector(vector_kernels()) {}
  ThreadPool pool;
  Products products;
  const VectorKernels& vector;
};

/// A kernel of the CPU backend for one op.
struct OpKernel {
  const Op* op = nullptr;
  /// A primitive's kernel may be null for a request that it does not take: the reference's is
  /// borrowed then.
  std::unique_ptr<Kernel> (*make)(Context& context, const KernelRequest& request) = nullptr;
  /// Whether a composite has this kernel, or is decomposed; null: always. Not asked of f64
  /// operands, nor of bf16 ones unless `bf16`.
  bool (*supports)(const Node& node, std::span<const Type> inputs) = nullptr;
  /// Inputs that are not row-major without gaps are copied before the kernel sees them.
  bool packs_inputs = false;
  /// With packs_inputs: whether the kernel takes an input as it lies after all; null: it does not.
  bool (*reads)(const KernelRequest& request, size_t input) = nullptr;
  /// Whether outputs may be strided views of a larger array; null: they may not.
  bool (*writes_strided)(const Node& node) = nullptr;
  /// Whether operands may be bf16. Where not, a composite is computed in f32 between casts, and a
  /// primitive's kernel is the reference's.
  bool bf16 = false;
};

/// What a file kernels/cpu/op_<name>.cpp defines: the op's kernel, and those of its gradient or its
/// twins.
struct CpuKernelEntry {
  OpKernel kernel, second = {}, third = {};
};

/// Base of the kernels: what they were asked for, and the context.
class CpuKernel : public Kernel {
 public:
  CpuKernel(Context& c, const KernelRequest& request)
      : context(c),
        attributes(request.node.attributes),
        inputs(request.inputs),
        outputs(request.outputs) {}

 protected:
  Context& context;
  const Attributes attributes;
  const std::vector<ArrayInfo> inputs, outputs;
};

template <class K>
std::unique_ptr<Kernel> make(Context& context, const KernelRequest& request) {
  return std::make_unique<K>(context, request);
}

/// Elements of a task small enough to share among threads and large enough to be worth a claim.
inline constexpr int64_t kTaskElements = 16384;

/// Rows that one task sums in order before blocks are summed in order: a function of shape alone.
inline constexpr int64_t kBlockRows = 64;

inline int64_t align64(int64_t bytes) { return round_up(bytes, 64); }

inline const float* floats(const void* p) { return static_cast<const float*>(p); }
inline float* floats(void* p) { return static_cast<float*>(p); }

/// fn(begin, end) over pieces of [0, n) of `span` elements, on the pool.
template <class Fn>
void for_spans(ThreadPool& pool, int64_t n, Fn&& fn, int64_t span = kTaskElements) {
  pool.parallel_for(ceil_div(n, span), [&](int64_t task, int) {
    const int64_t begin = task * span;
    fn(begin, std::min(n, begin + span));
  });
}

/// fn(first_row, rows) over blocks of rows of `width` elements, about kTaskElements each.
template <class Fn>
void for_rows(ThreadPool& pool, int64_t rows, int64_t width, Fn&& fn) {
  const int64_t block = std::max<int64_t>(1, kTaskElements / std::max<int64_t>(1, width));
  pool.parallel_for(ceil_div(rows, block), [&](int64_t task, int) {
    const int64_t begin = task * block;
    fn(begin, std::min(block, rows - begin));
  });
}

}  // namespace levanter::cpu

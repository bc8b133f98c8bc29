// A graph of cuDNN's operations as a list, and plain loops that run it.
#pragma once

#include <cudnn.h>

#include <array>
#include <cstdint>
#include <map>
#include <vector>

namespace levanter::testing {

/// Sizes or strides of an array.
using Four = std::array<int64_t, 4>;

struct GraphArray {
  cudnnDataType_t type = CUDNN_DATA_FLOAT;
  Four sizes{}, strides{};
  bool is_virtual = false, is_number = false;
  int64_t alignment = 1;
  auto operator<=>(const GraphArray&) const = default;

  int64_t elements() const { return sizes[0] * sizes[1] * sizes[2] * sizes[3]; }
  int64_t bytes_each() const;
  /// From the first element to the end of the last.
  int64_t bytes() const;
};

struct GraphOperation {
  enum class Kind : uint8_t { kMap, kIndex, kProduct, kReduction, kReshape };
  Kind kind = Kind::kMap;
  cudnnPointwiseMode_t map = CUDNN_POINTWISE_ADD;
  cudnnReduceTensorOp_t reduction = CUDNN_REDUCE_TENSOR_ADD;
  int64_t axis = 0;
  std::vector<int64_t> in;
  int64_t out = 0;
};

/// Arrays by their ids.
struct GraphProgram {
  std::map<int64_t, GraphArray> arrays;
  std::vector<GraphOperation> operations;
};

/// Runs the operations one by one in f32, each result rounded to its array's type; `places` of what
/// is not virtual. False where an operation is not known or its sizes do not fit.
bool run_graph(const GraphProgram& program, const std::map<int64_t, void*>& places);

}  // namespace levanter::testing

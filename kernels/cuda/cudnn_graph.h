// A graph of cuDNN's operations over arrays of four axes, and the plan of the engine that runs it.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "kernels/cuda/cudnn.h"

namespace levanter::cuda {

using Four = std::array<int64_t, 4>;

/// Strides of an array without gaps, in elements.
Four packed(const Four& sizes);

/// An array of a graph; its descriptor is the graph's.
struct Tensor {
  cudnnBackendDescriptor_t descriptor = nullptr;
  Four sizes{};
};

/// Operations are added in order, each of whose results is a new array between operations, or one
/// of the card's that was added before.
///   error  kDevice where the library does not take an operation
class Graph final {
 public:
  explicit Graph(const Cudnn& cudnn) : cudnn_(cudnn) {}

  /// In the card's memory; `id` names it when the graph runs. Strides in elements.
  Tensor memory(int64_t id, cudnnDataType_t type, const Four& sizes, const Four& strides);
  /// An f32 that is passed when the graph runs.
  Tensor number(int64_t id);
  /// Between two operations.
  Tensor between(cudnnDataType_t type, const Four& sizes, const Four& strides);
  Tensor between(const Four& sizes) { return between(CUDNN_DATA_FLOAT, sizes, packed(sizes)); }

  /// to = a b for each of the first two axes; a second axis of b may be a divisor of a's, then
  /// neighbours of a share it. Sums are f32.
  void multiply(const Tensor& a, const Tensor& b, const Tensor& to);
  /// to = mode(a[, b[, condition]]), each of which may have axes of size 1. Computed in
  /// `precision`.
  void map(cudnnPointwiseMode_t mode, const std::vector<Tensor>& operands, const Tensor& to,
           cudnnDataType_t precision = CUDNN_DATA_FLOAT);
  Tensor map(cudnnPointwiseMode_t mode, const std::vector<Tensor>& operands);
  /// i32 of the size of `like`: the index along the axis.
  Tensor index(const Tensor& like, int64_t axis);
  /// Over the axes along which `to` is smaller.
  void reduce(cudnnReduceTensorOp_t mode, const Tensor& from, const Tensor& to);
  /// The same elements under other sizes and strides.
  void reshape(const Tensor& from, const Tensor& to);

  const Cudnn& cudnn() const { return cudnn_; }
  const std::vector<cudnnBackendDescriptor_t>& operations() const { return operations_; }

 private:
  Tensor add(int64_t id, cudnnDataType_t type, const Four& sizes, const Four& strides,
             bool is_virtual, bool is_number);
  Descriptor& keep(Descriptor&& descriptor);
  void add_operation(Descriptor&& operation);
  void point(Descriptor&& how, const std::vector<Tensor>& operands, const Tensor& to);

  const Cudnn& cudnn_;
  std::vector<Descriptor> kept_;
  std::vector<cudnnBackendDescriptor_t> operations_;
  int64_t next_virtual_ = 1000;  ///< above all ids of memory
};

/// What plans are made for: a card that a handle has open, or one that is described.
struct PlanTarget {
  cudnnHandle_t handle = nullptr;
  cudnnBackendDescriptor_t properties = nullptr;  ///< in the handle's place
};

/// An engine and its settings: by the library's heuristics, or these.
struct EngineChoice {
  int64_t engine = -1;  ///< the library's number of it; -1: what the heuristics choose
  std::vector<std::pair<cudnnBackendKnobType_t, int64_t>> knobs;
};

/// A graph made ready to run.
struct Plan {
  Descriptor settings;  ///< which the library may still look at
  Descriptor descriptor;
  std::string name;  ///< "eng6_k24=7": the engine and its settings
  int64_t workspace_bytes = 0;
};

/// The first plan that the library can make with at most so many bytes of workspace; none where
/// the library refuses.
///   error  kDevice where it fails
std::optional<Plan> make_plan(const Graph& graph, const PlanTarget& target,
                              const EngineChoice& choice, int64_t most_workspace_bytes);

}  // namespace levanter::cuda

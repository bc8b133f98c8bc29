// A graph of cuDNN's operations over arrays of four axes.
#include "kernels/cuda/cudnn_graph.h"

#include <algorithm>

#include "base/error.h"

namespace levanter::cuda {

namespace {

constexpr int64_t kAlignment = 16;  // bytes, of every array

}  // namespace

Four packed(const Four& sizes) {
  Four strides;
  int64_t stride = 1;
  for (size_t i = sizes.size(); i-- > 0;) {
    strides[i] = stride;
    stride *= sizes[i];
  }
  return strides;
}

Descriptor& Graph::keep(Descriptor&& descriptor) {
  descriptor.finish();
  kept_.push_back(std::move(descriptor));
  return kept_.back();
}

Tensor Graph::add(int64_t id, cudnnDataType_t type, const Four& sizes, const Four& strides,
                  bool is_virtual, bool is_number) {
  Descriptor tensor(cudnn_, CUDNN_BACKEND_TENSOR_DESCRIPTOR, "an array of attention");
  tensor.set(CUDNN_ATTR_TENSOR_UNIQUE_ID, id);
  tensor.set(CUDNN_ATTR_TENSOR_DATA_TYPE, CUDNN_TYPE_DATA_TYPE, type);
  tensor.set(CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT, kAlignment);
  tensor.set(CUDNN_ATTR_TENSOR_DIMENSIONS, CUDNN_TYPE_INT64, std::span<const int64_t>(sizes));
  tensor.set(CUDNN_ATTR_TENSOR_STRIDES, CUDNN_TYPE_INT64, std::span<const int64_t>(strides));
  tensor.set(CUDNN_ATTR_TENSOR_IS_VIRTUAL, CUDNN_TYPE_BOOLEAN, is_virtual);
  tensor.set(CUDNN_ATTR_TENSOR_IS_BY_VALUE, CUDNN_TYPE_BOOLEAN, is_number);
  return {keep(std::move(tensor)).get(), sizes};
}

Tensor Graph::memory(int64_t id, cudnnDataType_t type, const Four& sizes, const Four& strides) {
  LEV_CHECK(id < next_virtual_, "an id that arrays between operations have");
  return add(id, type, sizes, strides, false, false);
}

Tensor Graph::number(int64_t id) {
  return add(id, CUDNN_DATA_FLOAT, {1, 1, 1, 1}, {1, 1, 1, 1}, false, true);
}

Tensor Graph::between(cudnnDataType_t type, const Four& sizes, const Four& strides) {
  return add(next_virtual_++, type, sizes, strides, true, false);
}

void Graph::add_operation(Descriptor&& operation) {
  operations_.push_back(keep(std::move(operation)).get());
}

void Graph::multiply(const Tensor& a, const Tensor& b, const Tensor& to) {
  Descriptor how(cudnn_, CUDNN_BACKEND_MATMUL_DESCRIPTOR, "a product");
  how.set(CUDNN_ATTR_MATMUL_COMP_TYPE, CUDNN_TYPE_DATA_TYPE, CUDNN_DATA_FLOAT);
  const auto product = keep(std::move(how)).get();
  Descriptor operation(cudnn_, CUDNN_BACKEND_OPERATION_MATMUL_DESCRIPTOR, "a product");
  operation.set(CUDNN_ATTR_OPERATION_MATMUL_DESC, CUDNN_TYPE_BACKEND_DESCRIPTOR, product);
  operation.set(CUDNN_ATTR_OPERATION_MATMUL_ADESC, CUDNN_TYPE_BACKEND_DESCRIPTOR, a.descriptor);
  operation.set(CUDNN_ATTR_OPERATION_MATMUL_BDESC, CUDNN_TYPE_BACKEND_DESCRIPTOR, b.descriptor);
  operation.set(CUDNN_ATTR_OPERATION_MATMUL_CDESC, CUDNN_TYPE_BACKEND_DESCRIPTOR, to.descriptor);
  add_operation(std::move(operation));
}

void Graph::point(Descriptor&& how, const std::vector<Tensor>& operands, const Tensor& to) {
  static constexpr cudnnBackendAttributeName_t kOperands[] = {CUDNN_ATTR_OPERATION_POINTWISE_XDESC,
                                                              CUDNN_ATTR_OPERATION_POINTWISE_BDESC,
                                                              CUDNN_ATTR_OPERATION_POINTWISE_TDESC};
  LEV_CHECK(operands.size() <= std::size(kOperands), "too many operands");
  const auto function = keep(std::move(how)).get();
  Descriptor operation(cudnn_, CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR, "a map");
  operation.set(CUDNN_ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR, CUDNN_TYPE_BACKEND_DESCRIPTOR,
                function);
  for (size_t i = 0; i < operands.size(); ++i)
    operation.set(kOperands[i], CUDNN_TYPE_BACKEND_DESCRIPTOR, operands[i].descriptor);
  operation.set(CUDNN_ATTR_OPERATION_POINTWISE_YDESC, CUDNN_TYPE_BACKEND_DESCRIPTOR, to.descriptor);
  add_operation(std::move(operation));
}

void Graph::map(cudnnPointwiseMode_t mode, const std::vector<Tensor>& operands, const Tensor& to,
                cudnnDataType_t precision) {
  Descriptor how(cudnn_, CUDNN_BACKEND_POINTWISE_DESCRIPTOR, "a map");
  how.set(CUDNN_ATTR_POINTWISE_MODE, CUDNN_TYPE_POINTWISE_MODE, mode);
  how.set(CUDNN_ATTR_POINTWISE_MATH_PREC, CUDNN_TYPE_DATA_TYPE, precision);
  point(std::move(how), operands, to);
}

Tensor Graph::map(cudnnPointwiseMode_t mode, const std::vector<Tensor>& operands) {
  Four sizes = operands[0].sizes;
  for (const Tensor& operand : operands)
    for (size_t i = 0; i < sizes.size(); ++i) sizes[i] = std::max(sizes[i], operand.sizes[i]);
  const Tensor to = between(sizes);
  map(mode, operands, to);
  return to;
}

Tensor Graph::index(const Tensor& like, int64_t axis) {
  const Tensor to = between(CUDNN_DATA_INT32, like.sizes, packed(like.sizes));
  Descriptor how(cudnn_, CUDNN_BACKEND_POINTWISE_DESCRIPTOR, "an index");
  how.set(CUDNN_ATTR_POINTWISE_MODE, CUDNN_TYPE_POINTWISE_MODE, CUDNN_POINTWISE_GEN_INDEX);
  how.set(CUDNN_ATTR_POINTWISE_MATH_PREC, CUDNN_TYPE_DATA_TYPE, CUDNN_DATA_INT32);
  how.set(CUDNN_ATTR_POINTWISE_AXIS, axis);
  point(std::move(how), {like}, to);
  return to;
}

void Graph::reduce(cudnnReduceTensorOp_t mode, const Tensor& from, const Tensor& to) {
  Descriptor how(cudnn_, CUDNN_BACKEND_REDUCTION_DESCRIPTOR, "a reduction");
  how.set(CUDNN_ATTR_REDUCTION_OPERATOR, CUDNN_TYPE_REDUCTION_OPERATOR_TYPE, mode);
  how.set(CUDNN_ATTR_REDUCTION_COMP_TYPE, CUDNN_TYPE_DATA_TYPE, CUDNN_DATA_FLOAT);
  const auto reduction = keep(std::move(how)).get();
  Descriptor operation(cudnn_, CUDNN_BACKEND_OPERATION_REDUCTION_DESCRIPTOR, "a reduction");
  operation.set(CUDNN_ATTR_OPERATION_REDUCTION_DESC, CUDNN_TYPE_BACKEND_DESCRIPTOR, reduction);
  operation.set(CUDNN_ATTR_OPERATION_REDUCTION_XDESC, CUDNN_TYPE_BACKEND_DESCRIPTOR,
                from.descriptor);
  operation.set(CUDNN_ATTR_OPERATION_REDUCTION_YDESC, CUDNN_TYPE_BACKEND_DESCRIPTOR, to.descriptor);
  add_operation(std::move(operation));
}

void Graph::reshape(const Tensor& from, const Tensor& to) {
  Descriptor operation(cudnn_, CUDNN_BACKEND_OPERATION_RESHAPE_DESCRIPTOR, "another shape");
  operation.set(CUDNN_ATTR_OPERATION_RESHAPE_XDESC, CUDNN_TYPE_BACKEND_DESCRIPTOR, from.descriptor);
  operation.set(CUDNN_ATTR_OPERATION_RESHAPE_YDESC, CUDNN_TYPE_BACKEND_DESCRIPTOR, to.descriptor);
  add_operation(std::move(operation));
}

}  // namespace levanter::cuda

// What the nodes of the primitive ops carry, by name: a struct an op, with the way into the one
// record that every node has and back. Nobody else knows which field of the record is which.
#pragma once

#include <array>
#include <memory>
#include <vector>

#include "ops/ops.h"

namespace levanter {

/// Of `map`.
struct MapAttributes {
  Map opcode = Map::kNeg;

  Attributes pack() const { return {.code = static_cast<int32_t>(opcode)}; }
  static MapAttributes of(const Attributes& a) { return {static_cast<Map>(a.code)}; }
};

/// Of `reduce`.
struct ReduceAttributes {
  Reduce kind = Reduce::kSum;
  Axes over;  ///< the axes that go

  Attributes pack() const { return {.code = static_cast<int32_t>(kind), .axes = over}; }
  static ReduceAttributes of(const Attributes& a) { return {static_cast<Reduce>(a.code), a.axes}; }
};

/// Of `cast` and `uniform`: the type of the result.
struct DTypeAttributes {
  DType dtype = DType::f32;

  Attributes pack() const { return {.code = static_cast<int32_t>(dtype)}; }
  static DTypeAttributes of(const Attributes& a) { return {static_cast<DType>(a.code)}; }
};

/// Of `iota`: the type of the result, whose one axis is counted along.
struct IotaAttributes {
  Type type;

  Attributes pack() const { return {.code = static_cast<int32_t>(type.dtype), .axes = type.axes}; }
  static IotaAttributes of(const Attributes& a) { return {{static_cast<DType>(a.code), a.axes}}; }
};

/// Of `input`.
struct InputAttributes {
  Type type;
  int64_t index = 0;  ///< among the function's arguments, or a body's inputs

  Attributes pack() const {
    return {.code = static_cast<int32_t>(type.dtype), .axes = type.axes, .ints = {index}};
  }
  static InputAttributes of(const Attributes& a) {
    return {{static_cast<DType>(a.code), a.axes}, a.ints[0]};
  }
};

/// Of `constant`: a scalar.
struct ConstantAttributes {
  DType dtype = DType::f32;
  double value = 0;

  Attributes pack() const { return {.code = static_cast<int32_t>(dtype), .reals = {value}}; }
  static ConstantAttributes of(const Attributes& a) {
    return {static_cast<DType>(a.code), a.reals[0]};
  }
};

/// Of `literal`: the type of the result, and the numbers along its one axis.
struct LiteralAttributes {
  Type type;
  std::shared_ptr<const std::vector<double>> values;

  Attributes pack() const {
    return {.code = static_cast<int32_t>(type.dtype), .axes = type.axes, .values = values};
  }
  static LiteralAttributes of(const Attributes& a) {
    return {{static_cast<DType>(a.code), a.axes}, a.values};
  }
};

/// Of `fold_in`.
struct FoldInAttributes {
  uint32_t data = 0;

  Attributes pack() const { return {.ints = {data}}; }
  static FoldInAttributes of(const Attributes& a) { return {static_cast<uint32_t>(a.ints[0])}; }
};

/// Of `partition`.
struct PartitionAttributes {
  AxisName axis;
  std::array<int64_t, 4> sizes{};  ///< of the parts; 0 where there are fewer

  Attributes pack() const { return {.axis = axis, .ints = sizes}; }
  static PartitionAttributes of(const Attributes& a) { return {a.axis, a.ints}; }
};

}  // namespace levanter

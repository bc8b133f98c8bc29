// Elementwise arithmetic: one node kind with an opcode, so that fusion sees one class of node.
#include <cmath>
#include <numbers>

#include "base/strings.h"
#include "ops/attributes.h"
#include "ops/entries.h"
#include "ops/rules.h"

namespace levanter {

namespace {

std::vector<Type> infer(const Attributes& a, std::span<const Type> in) {
  const MapRow& row = row_of(MapAttributes::of(a).opcode);
  if (static_cast<int>(in.size()) != row.arity)
    type_error(cat(row.name, " takes ", row.arity, " operands"));
  if (!is_float(in[0].dtype) && row.operands == MapRow::Operands::kReals)
    type_error(cat(row.name, " of ", name_of(in[0].dtype)));
  const Type* largest = &in[0];
  for (const Type& type : in) {
    if (type.dtype != in[0].dtype) type_error(cat(row.name, " of two types"));
    if (type.axes.size() > largest->axes.size()) largest = &type;
  }
  for (const Type& type : in)
    if (!is_subset(type.axes, largest->axes))
      type_error(cat(row.name, ": the axes ", to_string(type.axes), " are not a subset of ",
                     to_string(largest->axes)));
  return {*largest};
}

/// g where the condition is true, or where it is not, and 0 elsewhere.
NamedArray where(NamedArray condition, NamedArray g) { return select(condition, g, zero_like(g)); }
NamedArray where_not(NamedArray condition, NamedArray g) {
  return select(condition, zero_like(g), g);
}

/// The cotangent of operand i, of operands `in`, result y and its cotangent g; empty where the
/// result is flat in it, almost everywhere.
NamedArray cotangent(Map opcode, size_t i, NamedArray g, std::span<const NamedArray> in,
                     NamedArray y) {
  const NamedArray flat, a = in[0], b = in.size() > 1 ? in[1] : flat;
  [[maybe_unused]] const NamedArray c = in.size() > 2 ? in[2] : flat;
  switch (opcode) {
#define LEVANTER_MAP_ROW(constant, name, arity, operands, rule, ulp, value, da, db, dc) \
  case Map::constant:                                                                   \
    if (i == 0) return da;                                                              \
    if (i == 1) return db;                                                              \
    return dc;
#include "ops/elementwise/rows.inc"
#undef LEVANTER_MAP_ROW
  }
  return flat;
}

void gradient(GradientCall& call) {
  const Map opcode = MapAttributes::of(call.node.attributes).opcode;
  NamedArray g = call.output_cotangents[0], y = call.outputs[0];
  std::vector<NamedArray> in = call.inputs;
  if (row_of(opcode).rule == MapRow::Rule::kWide) {
    for (NamedArray& x : in) x = widen(x);
    g = widen(g);
    y = widen(y);
  }
  for (size_t i = 0; i < call.inputs.size(); ++i) {
    if (!call.wanted[i]) continue;
    const NamedArray d = cotangent(opcode, i, g, in, y);
    if (d) call.input_cotangents[i] = sum_to(d, call.inputs[i].axes());
  }
}

Cost cost(const Node& node, std::span<const Type>) {
  return {static_cast<double>(node.outputs[0].elements())};
}

}  // namespace

namespace ops {
const Op map_entry = {.name = "map",
                      .summary = "elementwise arithmetic, by opcode",
                      .infer = infer,
                      .gradient = gradient,
                      .cost = cost,
                      .fusion = fuse_elementwise};
}  // namespace ops

namespace {
template <class... Rest>
NamedArray apply(Map opcode, const Operand& a, Rest... rest) {
  const NamedArray operands[] = {a.array, rest...};
  return a.array.graph().add(ops::map_entry, MapAttributes{opcode}.pack(), operands, a.where);
}

NamedArray scalar(const Operand& like, double value) {
  if (!is_float(like.array.dtype()) && value != std::trunc(value))
    type_error(cat("integers with the fraction ", value));
  return constant(like.array.graph(), value, like.array.dtype(), like.where);
}
}  // namespace

NamedArray map(Map opcode, Operand a) { return apply(opcode, a); }
NamedArray map(Map opcode, Operand a, NamedArray b) { return apply(opcode, a, b); }
NamedArray select(Operand a, NamedArray b, NamedArray c) { return apply(Map::kSelect, a, b, c); }

NamedArray operator+(Operand a, NamedArray b) { return apply(Map::kAdd, a, b); }
NamedArray operator-(Operand a, NamedArray b) { return apply(Map::kSub, a, b); }
NamedArray operator*(Operand a, NamedArray b) { return apply(Map::kMul, a, b); }
NamedArray operator/(Operand a, NamedArray b) { return apply(Map::kDiv, a, b); }
NamedArray operator-(Operand a) { return apply(Map::kNeg, a); }
NamedArray operator+(Operand a, double b) { return apply(Map::kAdd, a, scalar(a, b)); }
NamedArray operator-(Operand a, double b) { return apply(Map::kSub, a, scalar(a, b)); }
NamedArray operator*(Operand a, double b) { return apply(Map::kMul, a, scalar(a, b)); }
NamedArray operator/(Operand a, double b) { return apply(Map::kDiv, a, scalar(a, b)); }
NamedArray operator-(double a, Operand b) {
  return apply(Map::kSub, Operand(scalar(b, a), b.where), b.array);
}
NamedArray exp(Operand x) { return apply(Map::kExp, x); }
NamedArray log(Operand x) { return apply(Map::kLog, x); }
NamedArray sqrt(Operand x) { return apply(Map::kSqrt, x); }
NamedArray rsqrt(Operand x) { return apply(Map::kRsqrt, x); }
NamedArray tanh(Operand x) { return apply(Map::kTanh, x); }
NamedArray sigmoid(Operand x) { return apply(Map::kSigmoid, x); }
NamedArray relu(Operand x) {
  // At 0 the constant takes the gradient.
  return apply(Map::kMax, Operand(scalar(x, 0), x.where), x.array);
}
NamedArray silu(Operand x) { return apply(Map::kMul, x, apply(Map::kSigmoid, x)); }

}  // namespace levanter

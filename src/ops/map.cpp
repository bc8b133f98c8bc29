// Elementwise arithmetic: one node kind with an opcode, so that fusion sees one class of node.
#include <array>
#include <cmath>
#include <numbers>

#include "base/strings.h"
#include "ops/attributes.h"
#include "ops/entries.h"
#include "ops/rules.h"

namespace levanter {

namespace {

struct Row {
  const char* name;
  int arity;
};

// clang-format off
constexpr std::array<Row, kMapOpcodes> kRows = {{
    {"neg", 1}, {"abs", 1}, {"exp", 1}, {"log", 1}, {"log1p", 1}, {"sqrt", 1}, {"rsqrt", 1},
    {"rcp", 1}, {"tanh", 1}, {"sigmoid", 1}, {"erf", 1}, {"sin", 1}, {"cos", 1},
    {"not", 1}, {"is_finite", 1},
    {"add", 2}, {"sub", 2}, {"mul", 2}, {"div", 2}, {"max", 2}, {"min", 2}, {"pow", 2},
    {"less", 2}, {"less_equal", 2}, {"equal", 2}, {"and", 2}, {"or", 2},
    {"select", 3},
}};
// clang-format on

bool takes_integers(Map opcode) {
  switch (opcode) {
    case Map::kNot:
    case Map::kAdd:
    case Map::kSub:
    case Map::kMul:
    case Map::kMax:
    case Map::kMin:
    case Map::kLess:
    case Map::kLessEqual:
    case Map::kEqual:
    case Map::kAnd:
    case Map::kOr:
    case Map::kSelect:
      return true;
    default:
      return false;
  }
}

std::vector<Type> infer(const Attributes& a, std::span<const Type> in) {
  const Map opcode = MapAttributes::of(a).opcode;
  const Row& row = kRows[static_cast<size_t>(opcode)];
  if (static_cast<int>(in.size()) != row.arity)
    type_error(cat(row.name, " takes ", row.arity, " operands"));
  if (!is_float(in[0].dtype) && !takes_integers(opcode))
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

/// The derivative of a one-operand opcode, times g.
NamedArray unary_rule(Map opcode, NamedArray g, NamedArray x, NamedArray y) {
  switch (opcode) {
    case Map::kNeg:
      return -g;
    case Map::kAbs:  // 0 at 0
      return g * (map(Map::kLess, zero_like(x), x) - map(Map::kLess, x, zero_like(x)));
    case Map::kExp:
      return g * y;
    case Map::kLog:
      return g / x;
    case Map::kLog1p:
      return g / (x + 1.0);
    case Map::kSqrt:
      return g / y * 0.5;
    case Map::kRsqrt:
      return g * y * y * y * -0.5;
    case Map::kRcp:
      return -(g * y * y);
    case Map::kTanh:
      return g * (1.0 - y * y);
    case Map::kSigmoid:
      return g * y * (1.0 - y);
    case Map::kErf:
      return g * exp(-(x * x)) * (2 / std::sqrt(std::numbers::pi));
    case Map::kSin:
      return g * map(Map::kCos, x);
    case Map::kCos:
      return -(g * map(Map::kSin, x));
    default:
      return {};  // logic: flat almost everywhere
  }
}

/// The derivative of a two- or three-operand opcode in operand i, times g.
NamedArray binary_rule(Map opcode, size_t i, NamedArray g, const std::vector<NamedArray>& in,
                       NamedArray y) {
  switch (opcode) {
    case Map::kAdd:
      return g;
    case Map::kSub:
      return i == 0 ? g : -g;
    case Map::kMul:
      return g * in[1 - i];
    case Map::kDiv:
      return i == 0 ? g / in[1] : -(g * y / in[1]);
    case Map::kMax:
    case Map::kMin: {  // where both are equal the first operand takes all
      const NamedArray second =
          opcode == Map::kMax ? map(Map::kLess, in[0], in[1]) : map(Map::kLess, in[1], in[0]);
      return i == 0 ? select(second, zero_like(g), g) : select(second, g, zero_like(g));
    }
    case Map::kPow:
      if (i == 0) return g * in[1] * map(Map::kPow, in[0], in[1] - 1.0);
      return select(map(Map::kEqual, in[0], zero_like(in[0])), zero_like(y), g * y * log(in[0]));
    case Map::kSelect:
      if (i == 0) return {};
      return i == 1 ? select(in[0], g, zero_like(g)) : select(in[0], zero_like(g), g);
    default:
      return {};
  }
}

/// Whether the rule rounds once at most, so that bf16 operands give the same bits as f32 ones.
bool rounds_once(Map opcode) {
  switch (opcode) {
    case Map::kNeg:
    case Map::kAdd:
    case Map::kSub:
    case Map::kMul:
    case Map::kMax:
    case Map::kMin:
    case Map::kSelect:
      return true;
    default:
      return false;
  }
}

void gradient(GradientCall& call) {
  const Map opcode = MapAttributes::of(call.node.attributes).opcode;
  NamedArray g = call.output_cotangents[0], y = call.outputs[0];
  std::vector<NamedArray> in = call.inputs;
  if (!rounds_once(opcode)) {
    for (NamedArray& x : in) x = widen(x);
    g = widen(g);
    y = widen(y);
  }
  for (size_t i = 0; i < call.inputs.size(); ++i) {
    if (!call.wanted[i]) continue;
    const NamedArray d =
        in.size() == 1 ? unary_rule(opcode, g, in[0], y) : binary_rule(opcode, i, g, in, y);
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

int arity(Map opcode) { return kRows[static_cast<size_t>(opcode)].arity; }
const char* name_of(Map opcode) { return kRows[static_cast<size_t>(opcode)].name; }

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

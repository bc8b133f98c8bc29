// Elementwise arithmetic, one element at a time.
#include <cmath>
#include <type_traits>

#include "kernels/reference/walk.h"
#include "ops/attributes.h"
#include "ops/entries.h"

namespace levanter::reference {

namespace {

template <class T>
T apply(Map opcode, T a, T b, T c) {
  using std::abs, std::exp, std::log, std::sqrt, std::pow;
  switch (opcode) {
    case Map::kAdd:
      return a + b;
    case Map::kSub:
      return a - b;
    case Map::kMul:
      return a * b;
    case Map::kMax:  // NaN where either is
      return a != a || b < a ? a : b;
    case Map::kMin:
      return a != a || a < b ? a : b;
    case Map::kLess:
      return a < b;
    case Map::kLessEqual:
      return a <= b;
    case Map::kEqual:
      return a == b;
    case Map::kAnd:
      return a != T{0} && b != T{0};
    case Map::kOr:
      return a != T{0} || b != T{0};
    case Map::kNot:
      return a == T{0};
    case Map::kSelect:
      return a != T{0} ? b : c;
    default:
      break;
  }
  if constexpr (std::is_floating_point_v<T>) {
    switch (opcode) {
      case Map::kNeg:
        return -a;
      case Map::kAbs:
        return abs(a);
      case Map::kExp:
        return exp(a);
      case Map::kLog:
        return log(a);
      case Map::kLog1p:
        return std::log1p(a);
      case Map::kSqrt:
        return sqrt(a);
      case Map::kRsqrt:
        return 1 / sqrt(a);
      case Map::kRcp:
        return 1 / a;
      case Map::kTanh:
        return std::tanh(a);
      case Map::kSigmoid:
        return 1 / (1 + exp(-a));
      case Map::kErf:
        return std::erf(a);
      case Map::kSin:
        return std::sin(a);
      case Map::kCos:
        return std::cos(a);
      case Map::kIsFinite:
        return std::isfinite(a);
      case Map::kDiv:
        return a / b;
      case Map::kPow:
        return pow(a, b);
      default:
        break;
    }
  }
  return T{0};
}

class MapKernel final : public LoopKernel {
 public:
  using LoopKernel::LoopKernel;
  void run(const void* const* in, void* const* out, void*) const override {
    with_type(outputs[0].dtype, [&](auto zero) {
      using T = decltype(zero);
      using Wide = std::conditional_t<std::is_same_v<T, Bf16>, float, T>;
      const size_t n = inputs.size();
      std::array<const View*, Walk::kMaxOperands> views{};
      for (size_t i = 0; i < n; ++i) views[i] = &inputs[i].view;
      views[n] = &outputs[0].view;
      const Map opcode = MapAttributes::of(attributes).opcode;
      Walk(outputs[0].view.axes, std::span(views.data(), n + 1)).each([&](const auto& at) {
        const Wide a = static_cast<const T*>(in[0])[at[0]];
        const Wide b = n > 1 ? Wide{static_cast<const T*>(in[1])[at[1]]} : Wide{0};
        const Wide c = n > 2 ? Wide{static_cast<const T*>(in[2])[at[2]]} : Wide{0};
        static_cast<T*>(out[0])[at[n]] = apply<Wide>(opcode, a, b, c);
      });
    });
  }
  bool in_place(size_t, size_t input) const override {
    return inputs[input].dtype == outputs[0].dtype &&
           inputs[input].view.axes == outputs[0].view.axes;
  }
};

}  // namespace

extern const KernelEntry map_entry;
const KernelEntry map_entry = {&ops::map_entry, make<MapKernel>};

}  // namespace levanter::reference

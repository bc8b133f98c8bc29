#include "cuda/card_agreement.h"

namespace levanter::testing {

namespace {

constexpr simt::Order kOrders[] = {simt::Order::kForward, simt::Order::kBackward,
                                   simt::Order::kRandom};

}  // namespace

std::vector<Array> narrowed(std::vector<Array> inputs) {
  for (Array& input : inputs)
    if (is_float(input.type.dtype)) input.type.dtype = DType::bf16;
  return inputs;
}

double card_error(const Build& build, const std::vector<Array>& inputs) {
  FakeCuda fake;
  std::vector<std::vector<Array>> found;
  {
    const auto backend = FakeCuda::backend();
    for (const simt::Order order : kOrders) {
      fake.set_order(order);
      found.push_back(evaluate(build, inputs, *backend, DType::f32));
    }
  }
  CHECK(fake.fault() == "");
  CHECK(fake.living() == "");
  if (!same_bits(found[0], found[1]) || !same_bits(found[0], found[2])) return INFINITY;
  const std::vector<Array> exact = evaluate(build, inputs, *make_backend("reference"), DType::f32);
  double worst = 0;
  for (size_t i = 0; i < exact.size(); ++i)
    worst = std::max(worst, difference(found[0][i], exact[i], kSmallest));
  return worst;
}

double worst_card_error(const std::vector<OperandSpec>& operands, const Build& build, bool bf16) {
  double worst = 0;
  for (const Layout layout : kLayouts) {
    std::vector<Array> inputs;
    for (size_t i = 0; i < operands.size(); ++i)
      inputs.push_back(make_array(operands[i], layout, static_cast<uint32_t>(i) + 1));
    if (bf16) inputs = narrowed(inputs);
    worst = std::max(worst, card_error(in_layout(build, operands, layout), inputs));
  }
  return worst;
}

}  // namespace levanter::testing

#include "base/random.h"
#include "support/checks.h"

using namespace levanter;
using namespace levanter::testing;

namespace {
Build as(DType dtype) {
  return [dtype](const auto& in) { return std::vector{uniform(in[0], dtype)}; };
}
}  // namespace

TEST_CASE("uniform makes the host's floats of the bits, in f32 and in f64", "[ops]") {
  const Array bits{{DType::u32, {{"embed", 4}}}, {0, 1, 0x80000000p0, 0xffffffffp0}};
  for (const DType dtype : {DType::f32, DType::f64}) {
    const Array u = evaluate(as(dtype), {bits})[0];
    CHECK(u.type.dtype == dtype);
    for (size_t i = 0; i < 4; ++i)
      CHECK(u.values[i] == uniform_from_bits(static_cast<uint32_t>(bits.values[i])));
  }
  CHECK(evaluate(as(DType::f32), {bits})[0].values == std::vector<double>{0, 0, 0.5, 1 - 0x1p-23});
}

TEST_CASE("uniform reads bits through strides", "[ops]") {
  const Array keys = random_keys({{"batch", 3}}, 1);
  const Axes order = {key_word(), {"batch", 3}};
  const Build before = [&](const auto& in) {
    return std::vector{uniform(transpose(in[0], order), DType::f32)};
  };
  const Build after = [&](const auto& in) {
    return std::vector{transpose(uniform(in[0], DType::f32), order)};
  };
  CHECK(same_bits(evaluate(before, {keys}), evaluate(after, {keys})));
}

TEST_CASE("uniform refuses what is not bits", "[ops]") {
  CHECK_THAT(trace_error(as(DType::f32), {random_real({}, 1)}),
             Catch::Contains("uniform: the bits are not u32"));
}

// Attention to a cache against its decomposition, and the promises about its bits.
#include "base/random.h"
#include "support/checks.h"

using namespace levanter;
using namespace levanter::testing;

namespace {

constexpr double kTolerance = 2e-6;      // values of about 1
constexpr double kBf16Tolerance = 8e-3;  // a rounding of values of about 1

struct Case {
  const char* name;
  int64_t batch, position, heads, groups, head_dim, keys;
  int64_t window = 0;
  double soft_cap = 0;
};

const std::vector<Case> kCases = {
    {"one token", 1, 1, 1, 1, 1, 1},
    {"a token a row", 5, 1, 3, 1, 16, 33},
    {"a piece", 1, 19, 2, 1, 24, 40},
    {"grouped queries", 2, 3, 2, 4, 10, 21},
    {"many groups", 2, 1, 1, 17, 8, 21},
    {"window", 3, 5, 2, 1, 8, 30, 4},
    {"a window of one", 3, 1, 2, 1, 8, 30, 1},
    {"cap", 2, 1, 2, 1, 8, 30, 0, 0.7},
    {"everything", 2, 11, 2, 2, 16, 70, 9, 1.5},
    {"many keys", 2, 1, 1, 2, 16, 700},
};

Build build(const Case& c) {
  return [c](const auto& in) {
    AttentionOptions o;
    o.scale = 0.4;
    o.window = c.window;
    o.soft_cap = c.soft_cap;
    o.positions = in[3];
    return std::vector{attention(in[0], in[1], in[2], o)};
  };
}

std::vector<Array> operands(const Case& c) {
  Axes q = {{"batch", c.batch}, {"position", c.position}, {"kv_head", c.heads}};
  if (c.groups > 1) q.push_back({"q_group", c.groups});
  q.push_back({"head_dim", c.head_dim});
  const Axes k = {
      {"batch", c.batch}, {"kv_head", c.heads}, {"key_position", c.keys}, {"head_dim", c.head_dim}};
  // Each row's piece begins somewhere else.
  Array positions = ids({{"batch", c.batch}, {"position", c.position}},
                        std::vector<double>(static_cast<size_t>(c.batch * c.position)));
  for (int64_t b = 0; b < c.batch; ++b) {
    const auto first =
        static_cast<double>(random_below(key_from_seed(7), static_cast<uint64_t>(b),
                                         static_cast<uint64_t>(c.keys - c.position + 1)));
    for (int64_t t = 0; t < c.position; ++t)
      positions.values[static_cast<size_t>(b * c.position + t)] = first + static_cast<double>(t);
  }
  return {random_real(q, 1), random_real(k, 2), random_real(k, 3), positions};
}

}  // namespace

TEST_CASE("attention to a cache is its decomposition's", "[kernels]") {
  const auto reference = make_backend("reference"), cpu = make_backend("cpu", 2);
  for (const Case& c : kCases) {
    INFO(c.name);
    const auto in = operands(c);
    const Array expected = evaluate(build(c), in, *reference)[0];
    CHECK(difference(evaluate(build(c), in, *cpu, DType::f32)[0], expected) < kTolerance);
  }
}

TEST_CASE("a text's attention depends on itself alone, not on threads", "[kernels]") {
  const auto one = make_backend("cpu", 1), three = make_backend("cpu", 3);
  for (const Case& c : kCases) {
    INFO(c.name);
    const auto in = operands(c);
    const auto all = evaluate(build(c), in, *one, DType::f32)[0].values;
    CHECK(evaluate(build(c), in, *three, DType::f32)[0].values == all);
    Case last = c;
    last.batch = 1;
    std::vector<Array> alone;
    for (const Array& x : in) {
      const Axes axes = replace(x.type.axes, "batch", Axes{{"batch", 1}});
      const auto size = static_cast<std::ptrdiff_t>(axes.elements());
      alone.push_back({Type{x.type.dtype, axes}, {x.values.end() - size, x.values.end()}});
    }
    const auto found = evaluate(build(last), alone, *one, DType::f32)[0].values;
    CHECK(std::equal(found.begin(), found.end(), all.end() - std::ssize(found)));
  }
}

TEST_CASE("attention to a cache of bf16 is that of f32 but for rounding", "[kernels]") {
  const auto reference = make_backend("reference"), cpu = make_backend("cpu", 2);
  for (const Case& c : kCases) {
    INFO(c.name);
    const auto in = operands(c);
    const Build rounded = [&c](const auto& wide) {
      std::vector<NamedArray> narrow;
      for (size_t i = 0; i < 3; ++i) narrow.push_back(cast(wide[i], DType::bf16));
      narrow.push_back(wide[3]);
      return std::vector{cast(build(c)(narrow)[0], DType::f32)};
    };
    CHECK(difference(evaluate(rounded, in, *cpu, DType::f32)[0],
                     evaluate(rounded, in, *reference, DType::f32)[0]) < kBf16Tolerance);
  }
}

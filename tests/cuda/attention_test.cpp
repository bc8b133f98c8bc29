// Attention and its gradients on the emulated card against the decomposition in f64 on the
// reference backend: all options, element types and depths, with the same bits in every order of
// the threads.
#include "cuda/fake_cuda.h"
#include "passes/passes.h"
#include "support/cpu_agreement.h"

using namespace levanter;
using namespace levanter::testing;

namespace {

// Errors relative to a result's largest element.
constexpr double kF32Tolerance = 5e-6;
constexpr double kBf16Tolerance = 1e-2;  // two and a half roundings to 8 bits

constexpr simt::Order kOrders[] = {simt::Order::kForward, simt::Order::kBackward,
                                   simt::Order::kRandom};

struct Case {
  const char* name;
  int64_t batch, position, keys, kv_heads, groups, head_dim;  ///< groups 0: no such axis
  bool causal = true, segments = false;
  double dropout = 0;
  int64_t window = 0;
  double soft_cap = 0;
};

std::vector<OperandSpec> operands_of(const Case& c) {
  Axes q = {{"batch", c.batch}, {"position", c.position}, {"kv_head", c.kv_heads}};
  if (c.groups > 0) q.push_back({"q_group", c.groups});
  q.push_back({"head_dim", c.head_dim});
  const Axes k = {{"batch", c.batch},
                  {"key_position", c.keys},
                  {"kv_head", c.kv_heads},
                  {"head_dim", c.head_dim}};
  std::vector<OperandSpec> operands = {{q}, {k}, {k}};
  if (c.segments)
    operands.push_back({Axes{{"batch", c.batch}, {"position", c.position}}, Kind::kIds, 3});
  if (c.dropout > 0) operands.push_back({Axes{{"batch", c.batch}, key_word()}, Kind::kKeys});
  return operands;
}

AttentionOptions options_of(const Case& c, const std::vector<NamedArray>& in) {
  return {.scale = 0.7 / std::sqrt(std::max(1.0, static_cast<double>(c.head_dim) / 8)),
          .causal = c.causal,
          .window = c.window,
          .soft_cap = c.soft_cap,
          .segment_ids = c.segments ? in[3] : NamedArray(),
          .dropout_rate = c.dropout,
          .dropout_keys = c.dropout > 0 ? in.back() : NamedArray()};
}

Build build_of(const Case& c) {
  return [c](const std::vector<NamedArray>& in) {
    return std::vector{attention(in[0], in[1], in[2], options_of(c, in))};
  };
}

Build statistics_of(const Case& c) {
  return [c](const std::vector<NamedArray>& in) {
    const auto [entropy, largest] = attention_statistics(in[0], in[1], options_of(c, in));
    return std::vector{entropy, largest};
  };
}

/// q, k, v and the result rounded to bf16; computed in bf16 too, or in the inputs' type.
Build rounded(const Build& build, bool compute) {
  return [=](const std::vector<NamedArray>& in) {
    std::vector<NamedArray> operands = in;
    for (size_t i = 0; i < 3; ++i) {
      operands[i] = cast(in[i], DType::bf16);
      if (!compute) operands[i] = cast(operands[i], in[i].dtype());
    }
    return std::vector{cast(cast(build(operands)[0], DType::bf16), in[0].dtype())};
  };
}

std::vector<Array> arrays_of(const Case& c, Layout layout) {
  std::vector<Array> inputs;
  for (const OperandSpec& spec : operands_of(c))
    inputs.push_back(make_array(spec, layout, static_cast<uint32_t>(inputs.size()) + 1));
  return inputs;
}

/// The error of `build` on the emulated card against `definition`; INFINITY where the order of its
/// threads changes a bit, or where attention, its gradients and statistics are not `nodes` nodes.
double card_error(const Build& build, const Build& definition, const std::vector<Array>& inputs,
                  size_t nodes = 2) {
  FakeCuda fake;
  std::vector<std::vector<Array>> found;
  {
    const auto backend = FakeCuda::backend();
    const Function function = optimise(trace(build, inputs, DType::f32), *backend);
    size_t found_nodes = 0;
    for (const char* name : {"attention", "attention_grad", "attention_statistics"})
      found_nodes += count_nodes(function, name);
    if (found_nodes != nodes) return INFINITY;
    for (const simt::Order order : kOrders) {
      fake.set_order(order);
      found.push_back(run(duplicate(function), inputs, *backend));
    }
  }
  CHECK(fake.fault() == "");
  CHECK(fake.living() == "");
  if (!same_bits(found[0], found[1]) || !same_bits(found[0], found[2])) return INFINITY;
  const auto exact = evaluate(definition, inputs, *make_backend("reference"), DType::f64);
  double worst = 0;
  for (size_t i = 0; i < exact.size(); ++i)
    worst = std::max(worst, difference(found[0][i], exact[i], kSmallest));
  return worst;
}

double f32_error(const Case& c, Layout layout = Layout::kPlain) {
  const Build build = in_layout(with_gradients(build_of(c)), operands_of(c), layout);
  return card_error(build, build, arrays_of(c, layout));
}
double bf16_error(const Case& c, Layout layout = Layout::kPlain) {
  const auto made = [&](bool compute) {
    return in_layout(with_gradients(rounded(build_of(c), compute)), operands_of(c), layout);
  };
  return card_error(made(true), made(false), arrays_of(c, layout));
}

/// Each option alone, then all together.
const std::vector<Case> kOptions = {
    {"one token", 1, 1, 1, 1, 0, 1},
    {"causal", 2, 7, 7, 3, 0, 5},
    {"all keys", 2, 7, 7, 3, 0, 5, false},
    {"fewer queries than keys", 2, 5, 11, 2, 0, 4, false},
    {"segments", 2, 13, 13, 2, 0, 4, true, true},
    {"segments and all keys", 2, 13, 13, 2, 0, 4, false, true},
    {"dropout", 2, 7, 7, 2, 0, 4, true, false, 0.3},
    {"dropout and all keys", 1, 7, 9, 2, 0, 4, false, false, 0.3},
    {"grouped queries", 2, 7, 7, 2, 3, 5},
    {"window", 2, 13, 13, 2, 0, 4, true, false, 0, 4},
    {"cap", 2, 13, 13, 2, 0, 4, false, false, 0, 0, 1.5},
    {"everything", 2, 13, 13, 2, 3, 4, true, true, 0.2, 5, 2.0},
};

}  // namespace

TEST_CASE("attention of f32 on the card agrees in every layout", "[cuda][card]") {
  for (const Case& c : kOptions) {
    INFO(c.name);
    CHECK(f32_error(c) <= kF32Tolerance);
  }
  for (const Case& c : {kOptions.back(), Case{"in chunks", 2, 13, 13, 2, 2, 8}})
    for (const Layout layout : kLayouts) CHECK(f32_error(c, layout) <= kF32Tolerance);
}

TEST_CASE("attention of bf16 on the card agrees", "[cuda][card]") {
  for (const Case& c : kOptions) {
    INFO(c.name);
    CHECK(bf16_error(c) <= kBf16Tolerance);
  }
  const Case everything = {"in chunks", 2, 13, 13, 2, 2, 8, true, true, 0.2, 5, 2.0};
  for (const Layout layout : kLayouts) CHECK(bf16_error(everything, layout) <= kBf16Tolerance);
}

TEST_CASE("attention's statistics on the card agree", "[cuda][card]") {
  std::vector<Case> cases = kOptions;
  cases.push_back({"long", 1, 129, 129, 2, 0, 16});
  cases.push_back({"long, everything", 1, 197, 197, 1, 2, 33, true, true, 0, 70, 3.0});
  for (const Case& c : cases) {
    INFO(c.name);
    for (const Layout layout : {Layout::kPlain, kLayouts[1]}) {
      const Build build = in_layout(statistics_of(c), operands_of(c), layout);
      CHECK(card_error(build, build, arrays_of(c, layout), 1) <= kF32Tolerance);
    }
    const auto of_bf16 = [c](bool compute) -> Build {
      return [c, compute](const std::vector<NamedArray>& in) {
        std::vector<NamedArray> operands = in;
        for (size_t i = 0; i < 3; ++i) {
          operands[i] = cast(in[i], DType::bf16);
          if (!compute) operands[i] = cast(operands[i], in[i].dtype());
        }
        return statistics_of(c)(operands);
      };
    };
    CHECK(card_error(of_bf16(true), of_bf16(false), arrays_of(c, Layout::kPlain), 1) <=
          kF32Tolerance);
  }
}

TEST_CASE("attention on the card agrees over several tiles of queries and keys", "[cuda][card]") {
  for (const Case& c :
       {Case{"causal", 1, 129, 129, 2, 0, 16}, Case{"whole tiles", 1, 128, 128, 1, 2, 16},
        Case{"window", 1, 193, 193, 1, 0, 8, true, false, 0, 66},
        Case{"everything", 1, 197, 197, 1, 2, 8, true, true, 0.1, 70, 3.0},
        Case{"all keys", 1, 67, 201, 1, 0, 8, false, false, 0.2}}) {
    INFO(c.name);
    CHECK(f32_error(c) <= kF32Tolerance);
    CHECK(bf16_error(c) <= kBf16Tolerance);
  }
}

TEST_CASE("attention on the card agrees for heads of any size", "[cuda][card]") {
  for (const int64_t head_dim : {16, 33, 64, 80, 128, 200, 256}) {
    const Case c = {"", 1, 67, 67, 1, 0, head_dim};
    INFO(head_dim << " elements of a head");
    CHECK(f32_error(c) <= kF32Tolerance);
    CHECK(bf16_error(c) <= kBf16Tolerance);
  }
}

TEST_CASE("attention on the card agrees where documents leave tiles without pairs",
          "[cuda][card]") {
  for (const bool causal : {true, false}) {
    const Case c = {"documents", 2, 201, 201, 1, 2, 8, causal, true};
    std::vector<Array> inputs = arrays_of(c, Layout::kPlain);
    for (size_t i = 0; i < inputs[3].values.size(); ++i) {
      const size_t position = i % 201;  // documents of 64, 3, 70 and 64 tokens
      inputs[3].values[i] = (position >= 64) + (position >= 67) + 2.0 * (position >= 137);
    }
    const auto made = [&](bool compute) { return with_gradients(rounded(build_of(c), compute)); };
    CHECK(card_error(made(true), made(false), inputs) <= kBf16Tolerance);
    const Build build = with_gradients(build_of(c));
    CHECK(card_error(build, build, inputs) <= kF32Tolerance);
  }
}

TEST_CASE("attention on the card reads the parts of one projection in place", "[cuda][card]") {
  for (const int64_t head_dim : {5, 16}) {
    const Axes qkv = {{"batch", 2}, {"position", 9}, {"kv_head", 6}, {"head_dim", head_dim}};
    const Build build = [](const std::vector<NamedArray>& in) {
      const int64_t sizes[] = {2, 2, 2};
      const auto parts = partition(in[0], "kv_head", sizes);
      return std::vector{attention(parts[0], rename(parts[1], "position", "key_position"),
                                   rename(parts[2], "position", "key_position"),
                                   {.scale = 0.4, .segment_ids = {}, .dropout_keys = {}})};
    };
    CHECK(card_error(with_gradients(build), with_gradients(build), {random_real(qkv, 1)}) <=
          kF32Tolerance);
  }
}

TEST_CASE("attention to a cache on the card agrees, in one piece of the keys or several",
          "[cuda][card]") {
  for (const Case& c :
       {Case{"a token a row", 5, 1, 33, 3, 0, 16}, Case{"a piece", 1, 19, 40, 2, 0, 24},
        Case{"grouped queries", 2, 3, 21, 2, 4, 10},
        Case{"window", 3, 5, 30, 2, 0, 8, true, false, 0, 4},
        Case{"cap", 2, 1, 30, 2, 0, 8, true, false, 0, 0, 0.7},
        Case{"several pieces", 3, 1, 1100, 2, 2, 16},
        Case{"everything", 2, 11, 1030, 1, 2, 12, true, false, 0, 600, 1.5}}) {
    std::vector<Array> inputs = arrays_of(c, Layout::kPlain);
    std::vector<double> positions;  // each row's begin somewhere else
    for (int64_t b = 0; b < c.batch; ++b)
      for (int64_t t = 0; t < c.position; ++t)
        positions.push_back(static_cast<double>((c.keys - c.position) * (b + 1) / c.batch + t));
    inputs.push_back(ids({{"batch", c.batch}, {"position", c.position}}, positions));
    const Build build = [c](const std::vector<NamedArray>& in) {
      AttentionOptions options;
      options.scale = 0.4;
      options.window = c.window;
      options.soft_cap = c.soft_cap;
      options.positions = in[3];
      return std::vector{attention(in[0], in[1], in[2], options)};
    };
    INFO(c.name);
    CHECK(card_error(build, build, inputs, 1) <= kF32Tolerance);
    CHECK(card_error(rounded(build, true), rounded(build, false), inputs, 1) <= kBf16Tolerance);
  }
}

TEST_CASE("a query at no position sees no key of a cache", "[cuda][card]") {
  const Axes q = {{"batch", 2}, {"position", 2}, {"kv_head", 1}, {"head_dim", 8}};
  for (const int64_t keys : {9, 600}) {
    const Axes k = {{"batch", 2}, {"key_position", keys}, {"kv_head", 1}, {"head_dim", 8}};
    const Build build = [](const std::vector<NamedArray>& in) {
      AttentionOptions options;
      options.positions = in[3];
      return std::vector{attention(in[0], in[1], in[2], options)};
    };
    FakeCuda fake;
    const auto found = evaluate(build,
                                {random_real(q, 1), random_real(k, 2), random_real(k, 3),
                                 ids({{"batch", 2}, {"position", 2}}, {-1, -1, 3, -1})},
                                *FakeCuda::backend(), DType::f32)[0];
    for (size_t i = 0; i < found.values.size(); ++i)
      CHECK((found.values[i] == 0) == (i < 16 || i >= 24));
  }
}

TEST_CASE("attention that no kernel of the card takes is decomposed", "[cuda][card]") {
  const Axis batch{"batch", 2}, position{"position", 5}, keys{"key_position", 5},
      head{"kv_head", 2}, group{"q_group", 3}, dim{"head_dim", 4}, long_dim{"head_dim", 257};
  struct Operands {
    Axes q, k;
  };
  for (const Operands& o :
       {Operands{{batch, position, group, head, dim}, {batch, keys, head, dim}},
        Operands{{dim, batch, position, head}, {batch, keys, head, dim}},
        Operands{{batch, position, head, long_dim}, {batch, keys, head, long_dim}}}) {
    const Build build = with_gradients([](const std::vector<NamedArray>& in) {
      return std::vector{
          attention(in[0], in[1], in[2], {.scale = 0.2, .segment_ids = {}, .dropout_keys = {}})};
    });
    INFO(to_string(o.q));
    CHECK(card_error(build, build, {random_real(o.q, 1), random_real(o.k, 2), random_real(o.k, 3)},
                     0) <= kF32Tolerance);
  }
}

#include <cmath>

#include "base/random.h"
#include "passes/passes.h"
#include "support/cpu_agreement.h"

using namespace levanter;
using namespace levanter::testing;

namespace {

/// Of the largest entry: f32 sums of up to 1100 products, and gradients through sines of them.
constexpr double kProductTolerance = 5e-5;

const Build kQuantized = [](const auto& in) {
  return std::vector{quantized_dot(in[0], in[1], in[2])};
};

struct Case {
  const char* name;
  Axes x, matrix, scale, out;
};

const std::vector<Case> kCases = {
    {"outputs first",
     {{"row", 7}, {"in", 3}},
     {{"out", 2}, {"in", 3}},
     {{"out", 2}},
     {{"row", 7}, {"out", 2}}},
    {"inputs first",
     {{"row", 7}, {"in", 3}},
     {{"in", 3}, {"out", 2}},
     {{"out", 2}},
     {{"row", 7}, {"out", 2}}},
    {"scales of what is summed over",
     {{"row", 7}, {"in", 3}},
     {{"in", 3}, {"out", 2}},
     {{"in", 3}},
     {{"row", 7}, {"out", 2}}},
    {"one of each",
     {{"row", 1}, {"in", 1}},
     {{"out", 1}, {"in", 1}},
     {{"out", 1}},
     {{"row", 1}, {"out", 1}}},
    {"several axes, x in another order",
     {{"head", 2}, {"batch", 2}, {"in", 3}, {"position", 5}},
     {{"out", 4}, {"group", 3}, {"head", 2}, {"in", 3}},
     {{"out", 4}, {"group", 3}},
     {{"batch", 2}, {"position", 5}, {"out", 4}, {"group", 3}}},
};

Array int8_array(const Axes& axes, uint32_t seed) {
  Array result{{DType::i8, axes}, {}};
  const Key key = key_from_seed(seed);
  for (int64_t i = 0; i < axes.elements(); ++i)
    result.values.push_back(static_cast<double>(random_bits(key, static_cast<uint64_t>(i)) % 255) -
                            127);
  return result;
}

std::vector<Array> operands(const Case& c) {
  Array scale = positive(c.scale, 3);
  for (double& x : scale.values) x /= 127;
  return {random_real(c.x, 1), int8_array(c.matrix, 2), scale};
}

Array as(DType dtype, Array array) {
  array.type.dtype = dtype;
  return array;
}

}  // namespace

TEST_CASE("quantized_dot multiplies by int8 times its scales", "[ops]") {
  for (const Case& c : kCases) {
    INFO(c.name);
    const std::vector<Array> in = operands(c);
    const auto inner = indices(intersect(c.matrix, c.x));
    const Array expected = looped(c.out, [&](const auto& where) {
      double total = 0;
      for (const auto& k : inner) {
        const auto all = join(where, k);
        total += at(in[0], all) * at(in[1], all) * at(in[2], all);
      }
      return total;
    });
    const Array found = evaluate(kQuantized, in)[0];
    CHECK(found.type.axes == c.out);
    CHECK(difference(found, expected) < kRoundingTolerance);
  }
}

TEST_CASE("quantized_dot's gradient in x is that of central differences", "[ops]") {
  for (const Case& c : kCases) {
    INFO(c.name);
    const std::vector<Array> all = operands(c);
    const Build of_x = [&](const auto& in) {
      return std::vector{quantized_dot(in[0], in[1], stop_gradient(in[2]))};
    };
    CHECK(gradient_error(of_x, all, 0) < kGradientTolerance);
  }
}

TEST_CASE("the cpu's quantized_dot agrees with the reference, for any threads", "[ops]") {
  const Backends b;
  struct Sized {
    const char* name;
    int64_t rows, in, out;
  };
  for (const Sized& s : {Sized{"one row", 1, 70, 130}, Sized{"a few rows", 5, 3, 4},
                         Sized{"odd sizes", 37, 41, 67}, Sized{"several panels", 20, 1100, 500}})
    for (const bool out_first : {true, false})
      for (const bool of_out : {true, false}) {
        INFO(s.name << (out_first ? ", outputs first" : "")
                    << (of_out ? ", scales of outputs" : ""));
        const Axis in{"in", s.in}, out{"out", s.out};
        const Case c{s.name,
                     {{"row", s.rows}, in},
                     out_first ? Axes{out, in} : Axes{in, out},
                     {of_out ? out : in},
                     {}};
        const std::vector<Array> arrays = operands(c);
        const Build build = [&](const auto& of) {
          const NamedArray y = quantized_dot(of[0], of[1], of[2]);
          const NamedArray sines = map(Map::kSin, y * 0.1), wrt[] = {of[0]};
          return std::vector{y, backprop(sum(sines, sines.axes()), wrt)[0]};
        };
        const Function f = optimise(trace(build, arrays, DType::f32), *b.one);
        CHECK(count_nodes(f, "quantized_dot") == 2);
        const auto found = run(duplicate(f), arrays, *b.one);
        CHECK(same_bits(found, run(duplicate(f), arrays, *b.two)));
        CHECK(same_bits(found, run(duplicate(f), arrays, *b.five)));
        const auto exact = evaluate(build, arrays);
        for (size_t i = 0; i < found.size(); ++i)
          CHECK(difference(found[i], exact[i], kSmallest) < kProductTolerance);
      }
}

TEST_CASE("quantized_dot of bf16 rounds the matrix to bf16, on the cpu and decomposed", "[ops]") {
  const Case c{"", {{"row", 40}, {"in", 130}}, {{"out", 70}, {"in", 130}}, {{"out", 70}}, {}};
  std::vector<Array> in = operands(c);
  in[0] = as(DType::bf16, in[0]);
  const auto product = [&](const Build& build, const char* device) {
    const auto backend = make_backend(device);
    Function f("bf16", Graph(DType::f32, DType::bf16));
    std::vector<NamedArray> arguments;
    for (const Array& array : in)
      arguments.push_back(f.argument(
          "x", {array.type.dtype == DType::f64 ? DType::f32 : array.type.dtype, array.type.axes}));
    for (const NamedArray& y : build(arguments)) f.result("y", y);
    return run(optimise(std::move(f), *backend), in, *backend)[0];
  };
  const Build plain = [](const auto& of) {
    return std::vector{
        dot(of[0], dequantize(of[1], of[2], DType::bf16), {{"row", 40}, {"out", 70}})};
  };
  const Array expected = product(plain, "reference");
  CHECK(difference(product(kQuantized, "cpu"), expected) < kProductTolerance);
  CHECK(same_bits({product(kQuantized, "reference")}, {expected}));
}

TEST_CASE("a row's bits do not depend on the rows beside it, few as they are", "[ops]") {
  const Case c{"", {{"row", 16}, {"in", 90}}, {{"out", 150}, {"in", 90}}, {{"out", 150}}, {}};
  const std::vector<Array> all = operands(c);
  const auto backend = make_backend("cpu");
  const auto rows = [&](int64_t count) {
    std::vector<Array> in = all;
    in[0].type.axes = {{"row", count}, {"in", 90}};
    in[0].values.resize(static_cast<size_t>(count * 90));
    return run(optimise(trace(kQuantized, in, DType::f32), *backend), in, *backend,
               {.small_m = true})[0];
  };
  const Array whole = rows(16);
  for (const int64_t count : {1, 3, 15}) {
    const Array some = rows(count);
    CHECK(std::equal(some.values.begin(), some.values.end(), whole.values.begin()));
  }
}

TEST_CASE("what int8 is expanded to is not kept for the backward pass", "[ops]") {
  const Case c{"", {{"row", 4}, {"in", 8}}, {{"out", 6}, {"in", 8}}, {{"out", 6}}, {}};
  const Build build = [](const auto& in) {
    const NamedArray y = quantized_dot(in[0], in[1], in[2]), wrt[] = {in[0]};
    return std::vector{backprop(sum(y * y, y.axes()), wrt)[0]};
  };
  const Function f =
      optimise(trace(build, operands(c), DType::f32), *make_backend("reference"), {.fuse = false});
  CHECK(count_nodes(f, "dot") == 2);
  CHECK(count_nodes(f, "cast") == 2);  // once each pass
}

TEST_CASE("quantized_dot refuses what does not fit, naming the operands", "[ops]") {
  const std::vector<Array> in = operands(kCases[0]);
  CHECK_THAT(trace_error(kQuantized, {in[0], random_real({{"out", 2}, {"in", 3}}, 1), in[2]}),
             Catch::Contains("quantized_dot: the matrix is not i8, but f64"));
  CHECK_THAT(trace_error(kQuantized, {in[0], int8_array({{"out", 2}, {"k", 3}}, 1), in[2]}),
             Catch::Contains("share no axis"));
  CHECK_THAT(trace_error(kQuantized, {in[0], in[1], positive({{"out", 2}, {"in", 3}}, 1)}),
             Catch::Contains("are over neither"));
  CHECK_THAT(trace_error(kQuantized, {random_real({{"row", 2}, {"a", 2}, {"b", 2}}, 1),
                                      int8_array({{"a", 2}, {"out", 2}, {"b", 2}}, 1), in[2]}),
             Catch::Contains("are mixed"));
}

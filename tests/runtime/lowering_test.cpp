#include "runtime/lowering.h"

#include <cmath>

#include "passes/passes.h"
#include "runtime/executable.h"
#include "support/checks.h"
#include "support/forwarding_backend.h"

using namespace levanter;
using namespace levanter::testing;

namespace {

const Axes kSquare = {{"a", 3}, {"b", 3}}, kTurned = {{"b", 3}, {"a", 3}};
const Type kType{DType::f64, kSquare};

/// x with its axes' names exchanged: the transposed matrix under the same names.
NamedArray exchanged(NamedArray x) {
  return transpose(rename(rename(rename(x, "a", "t"), "b", "a"), "t", "b"), kSquare);
}

std::vector<double> transposed(const std::vector<double>& x) {
  return {x[0], x[3], x[6], x[1], x[4], x[7], x[2], x[5], x[8]};
}

struct Compiled {
  size_t steps;
  int64_t arena_bytes;
};

Compiled compiled(Function f, const Backend& backend = StridedBackend()) {
  const Executable executable = compile(std::move(f), backend);
  return {executable.step_count(), executable.arena_bytes()};
}

/// y[0] = x + 1 and y[1] = 2 x in one node, each allowed to lie over x.
const Op kPair = {.name = "pair",
                  .summary = "two outputs",
                  .infer = [](const Attributes&, std::span<const Type> in) {
                    return std::vector<Type>{in[0], in[0]};
                  }};

class PairKernel final : public Kernel {
 public:
  explicit PairKernel(const KernelRequest& request)
      : views_{request.outputs[0].view, request.outputs[1].view} {}
  void run(const void* const* in, void* const* out, void*) const override {
    const auto* x = static_cast<const double*>(in[0]);
    for (int64_t i = 0; i < 3; ++i)
      for (int64_t j = 0; j < 3; ++j) {
        const double value = x[3 * i + j];
        for (size_t o = 2; o-- > 0;)
          static_cast<double*>(out[o])[i * views_[o].strides[0] + j * views_[o].strides[1]] =
              o == 0 ? value + 1 : 2 * value;
      }
  }
  bool in_place(size_t, size_t) const override { return true; }

 private:
  View views_[2];
};

class PairBackend final : public ForwardingBackend {
 public:
  std::unique_ptr<Kernel> lower(const KernelRequest& request) const override {
    if (request.node.op == &kPair) return std::make_unique<PairKernel>(request);
    return ForwardingBackend::lower(request);
  }
  bool supports(const Node& node, std::span<const Type> inputs) const override {
    return node.op == &kPair || ForwardingBackend::supports(node, inputs);
  }
  bool writes_strided(const Node& node) const override { return node.op == &kPair; }
};

std::vector<NamedArray> pair(NamedArray x) {
  const NamedArray in[] = {x};
  const NamedArray first = x.graph().add(kPair, {}, in);
  return {first, NamedArray(x.graph(), Value{first.value().node, 1})};
}

std::vector<std::vector<double>> values(Function f, const std::vector<Array>& in,
                                        const Backend& backend = StridedBackend()) {
  std::vector<std::vector<double>> all;
  for (const Array& array : run(std::move(f), in, backend)) all.push_back(array.values);
  return all;
}

const std::vector<double> kX = {1, 2, 3, 4, 5, 6, 7, 8, 9};
const std::vector<double> kY = {9, 8, 7, 6, 5, 4, 3, 2, 1};

std::vector<Array> inputs() { return {array(kSquare, kX), array(kSquare, kY)}; }

/// A function of x and y.
struct Traced {
  Function f{"test", DType::f64};
  NamedArray x = f.argument("x", kType), y = f.argument("y", kType);
};

}  // namespace

TEST_CASE("views take no step and no memory", "[runtime]") {
  Traced t;
  t.f.result("s", sum(split_axis(exchanged(transpose(transpose(t.x, kTurned), kSquare)), "a",
                                 {{"c", 1}, {"d", 3}}),
                      {{"b", 3}}));
  const Compiled c = compiled(std::move(t.f));
  CHECK(c.steps == 1);
  CHECK(c.arena_bytes == 0);
}

TEST_CASE("a chain of elementwise steps runs in the memory of its result", "[runtime]") {
  Traced t;
  t.f.result("y", tanh(exp(t.x) * 2.0 + t.y));
  const Compiled c = compiled(std::move(t.f));
  CHECK(c.steps == 4);
  CHECK(c.arena_bytes == 0);
}

TEST_CASE("a value that is read later is not written over", "[runtime]") {
  Traced t;
  const NamedArray e = t.x + 1.0, f = e * 2.0, g = e + f;
  t.f.result("g", g);
  t.f.result("e", e);
  const auto y = values(std::move(t.f), inputs());
  for (size_t i = 0; i < 9; ++i) {
    CHECK(y[0][i] == 3 * (kX[i] + 1));
    CHECK(y[1][i] == kX[i] + 1);
  }
}

TEST_CASE("a step that reads one memory in two ways does not write over it", "[runtime]") {
  Traced t;
  const NamedArray e = t.x + 1.0;
  t.f.result("y", e + exchanged(e));
  const auto y = values(std::move(t.f), inputs());
  const auto turned = transposed(kX);
  for (size_t i = 0; i < 9; ++i) CHECK(y[0][i] == kX[i] + turned[i] + 2);
}

TEST_CASE("a donated argument that the step reads in two ways is replaced at the end",
          "[runtime]") {
  Traced t;
  t.f.result("x", t.x + exchanged(t.x), 0);
  const auto y = values(std::move(t.f), inputs());
  const auto turned = transposed(kX);
  for (size_t i = 0; i < 9; ++i) CHECK(y[0][i] == kX[i] + turned[i]);
}

TEST_CASE("two outputs of a step never share one dying input", "[runtime]") {
  Traced t;
  const auto both = pair(exp(t.x) - exp(t.x) + t.y);  // the first output is not used
  t.f.result("y", both[1] + 0.0);
  const auto y = values(std::move(t.f), inputs(), PairBackend());
  for (size_t i = 0; i < 9; ++i) CHECK(y[0][i] == 2 * kY[i]);
}

TEST_CASE("an update runs in the memory of its donated argument", "[runtime]") {
  Traced t;
  t.f.result("x", t.x - t.y * 0.5, 0);
  Function copy = duplicate(t.f);
  const auto y = values(std::move(t.f), inputs());
  for (size_t i = 0; i < 9; ++i) CHECK(y[0][i] == kX[i] - kY[i] / 2);
  CHECK(compiled(std::move(copy)).steps == 2);
}

TEST_CASE("a donated argument that is read after its update is replaced at the end", "[runtime]") {
  Traced t;
  const NamedArray next = t.x + t.y;
  t.f.result("x", next, 0);
  t.f.result("sum", dot(next, t.x, {}));
  const auto y = values(std::move(t.f), inputs());
  CHECK(y[0] == std::vector<double>(9, 10));
  CHECK(y[1] == std::vector<double>{450});
}

TEST_CASE("arguments can be results, and exchange places", "[runtime]") {
  Traced t;
  t.f.result("x again", t.x);
  t.f.result("x", t.y, 0);
  t.f.result("y", t.x, 1);
  t.f.result("y again", t.y);
  const auto y = values(std::move(t.f), inputs());
  CHECK(y == std::vector<std::vector<double>>{kX, kY, kX, kY});
}

TEST_CASE("the old value of a replaced argument is a result, whatever the order", "[runtime]") {
  for (const bool first : {true, false}) {
    Traced t;
    if (first) t.f.result("old", t.x);
    t.f.result("x", t.x * 2.0, 0);
    if (!first) t.f.result("old", t.x);
    auto y = values(std::move(t.f), inputs());
    if (!first) std::swap(y[0], y[1]);
    CHECK(y[0] == kX);
    for (size_t i = 0; i < 9; ++i) CHECK(y[1][i] == 2 * kX[i]);
  }
}

TEST_CASE("an argument is replaced by a view of itself", "[runtime]") {
  Traced t;
  t.f.result("x", exchanged(t.x), 0);
  t.f.result("y", t.y, 1);
  const auto y = values(std::move(t.f), inputs());
  CHECK(y[0] == transposed(kX));
  CHECK(y[1] == kY);
}

TEST_CASE("an argument that replaces itself takes no step", "[runtime]") {
  Traced t;
  t.f.result("x", t.x, 0);
  CHECK(compiled(std::move(t.f)).steps == 0);
}

TEST_CASE("one value is several results and replaces an argument too", "[runtime]") {
  Traced t;
  const NamedArray z = t.x + t.y;
  t.f.result("one", z);
  t.f.result("x", z, 0);
  t.f.result("two", z);
  t.f.result("turned", exchanged(z));
  t.f.result("y", z, 1);
  for (const auto& y : values(std::move(t.f), inputs())) CHECK(y == std::vector<double>(9, 10));
}

TEST_CASE("constants, counts and their views are results", "[runtime]") {
  Function f("test", DType::f64);
  f.result("c", constant(f.graph, 3, DType::f64));
  f.result("b", broadcast(constant(f.graph, 2, DType::f64), {{"a", 3}}));
  f.result("i", iota(f.graph, {"a", 3}, DType::f64));
  const auto y = values(std::move(f), {});
  CHECK(y == std::vector<std::vector<double>>{{3}, {2, 2, 2}, {0, 1, 2}});
}

TEST_CASE("parts are written straight into their concatenation", "[runtime]") {
  Traced t;
  const NamedArray parts[] = {exp(t.x), t.x + t.y, tanh(t.y)};
  const NamedArray joined = concat(parts, "b");
  t.f.result("joined", joined);
  Function copy = duplicate(t.f);
  CHECK(compiled(std::move(copy)).steps == 3);
  const auto y = values(std::move(t.f), inputs())[0];
  for (size_t i = 0; i < 3; ++i)
    for (size_t j = 0; j < 3; ++j) {
      CHECK(y[9 * i + j] == std::exp(kX[3 * i + j]));
      CHECK(y[9 * i + 3 + j] == 10);
      CHECK(y[9 * i + 6 + j] == std::tanh(kY[3 * i + j]));
    }
}

TEST_CASE("a part under another name is written in place too", "[runtime]") {
  Traced t;
  const NamedArray parts[] = {rename(exp(t.x), "a", "c"),
                              rename(rename(t.x + t.y, "a", "d"), "d", "c")};
  t.f.result("joined", concat(parts, "c"));
  Function copy = duplicate(t.f);
  CHECK(compiled(std::move(copy)).steps == 2);
  const auto y = values(std::move(t.f), inputs())[0];
  for (size_t i = 0; i < 9; ++i) {
    CHECK(y[i] == std::exp(kX[i]));
    CHECK(y[9 + i] == 10);
  }
}

TEST_CASE("one value under two names, twice in a concatenation", "[runtime]") {
  Traced t;
  const auto both = pair(t.x + 0.0);
  const NamedArray parts[] = {rename(both[0], "a", "c"), rename(both[0], "a", "c")};
  t.f.result("y", concat(parts, "c"));
  const auto y = values(std::move(t.f), inputs(), PairBackend())[0];
  for (size_t i = 0; i < 18; ++i) CHECK(y[i] == kX[i % 9] + 1);
}

TEST_CASE("a part that is used twice, or is an argument, is copied into its concatenation",
          "[runtime]") {
  Traced t;
  const NamedArray e = t.x + 1.0, twice[] = {e, e}, argument[] = {t.x, t.y};
  t.f.result("twice", concat(twice, "a"));
  t.f.result("argument", concat(argument, "a"));
  const auto y = values(std::move(t.f), inputs());
  for (size_t i = 0; i < 9; ++i) {
    CHECK(y[0][i] == kX[i] + 1);
    CHECK(y[0][9 + i] == kX[i] + 1);
    CHECK(y[1][i] == kX[i]);
    CHECK(y[1][9 + i] == kY[i]);
  }
}

TEST_CASE("one output of two, twice in a concatenation", "[runtime]") {
  Traced t;
  const auto both = pair(t.x + 0.0);
  const NamedArray parts[] = {both[0], both[0]};
  t.f.result("y", concat(parts, "a"));
  const auto y = values(std::move(t.f), inputs(), PairBackend())[0];
  for (size_t i = 0; i < 18; ++i) CHECK(y[i] == kX[i % 9] + 1);
}

TEST_CASE("both outputs of a step are parts of one concatenation", "[runtime]") {
  Traced t;
  t.f.result("y", concat(pair(t.x + 0.0), "b"));
  Function copy = duplicate(t.f);
  CHECK(compiled(std::move(copy), PairBackend()).steps == 2);
  const auto y = values(std::move(t.f), inputs(), PairBackend())[0];
  for (size_t i = 0; i < 3; ++i)
    for (size_t j = 0; j < 3; ++j) {
      CHECK(y[6 * i + j] == kX[3 * i + j] + 1);
      CHECK(y[6 * i + 3 + j] == 2 * kX[3 * i + j]);
    }
}

TEST_CASE("a concatenation inside a concatenation", "[runtime]") {
  Traced t;
  const NamedArray inner[] = {exp(t.x), tanh(t.y)};
  const NamedArray outer[] = {concat(inner, "a"), broadcast(t.x, kSquare) + 1.0};
  t.f.result("y", concat(outer, "a"));
  const auto y = values(std::move(t.f), inputs())[0];
  for (size_t i = 0; i < 9; ++i) {
    CHECK(y[i] == std::exp(kX[i]));
    CHECK(y[9 + i] == std::tanh(kY[i]));
    CHECK(y[18 + i] == kX[i] + 1);
  }
}

TEST_CASE("lowering gives every slot the first and the last step of its use", "[runtime]") {
  Traced t;
  const NamedArray e = dot(t.x, t.y, {{"a", 3}});    // step 0
  const NamedArray g = dot(t.y, t.x, {{"b", 3}});    // step 1
  t.f.result("s", dot(e, rename(g, "b", "a"), {}));  // step 2
  const Lowered lowered = lower(t.f, StridedBackend());
  REQUIRE(lowered.steps.size() == 3);
  const Slot& first = lowered.slots[static_cast<size_t>(lowered.steps[0].outputs[0].slot)];
  CHECK(first.kind == Slot::Kind::kArena);
  CHECK(first.first == 0);
  CHECK(first.last == 2);
  const Slot& result = lowered.slots[static_cast<size_t>(lowered.steps[2].outputs[0].slot)];
  CHECK(result.kind == Slot::Kind::kResult);
}

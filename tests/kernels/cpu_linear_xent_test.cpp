// The chunked cross entropy and the embedding gradient against double precision.
#include <catch2/catch.hpp>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <memory>
#include <random>
#include <vector>

#include "base/bf16.h"
#include "base/error.h"
#include "kernels/cpu/embedding.h"
#include "kernels/cpu/linear_xent.h"

using namespace levanter;
using namespace levanter::cpu;

namespace {

constexpr double kTolerance = 1e-5;  // of an array's largest entry
constexpr double kBf16Tolerance = 1e-2;
constexpr double kLossTolerance = 2e-6;

std::vector<float> random_values(int64_t n, uint32_t seed, float scale = 1.0f) {
  std::mt19937 generator(seed);
  std::normal_distribution<float> normal;
  std::vector<float> values(static_cast<size_t>(n));
  for (float& value : values) value = scale * normal(generator);
  return values;
}

std::vector<int32_t> random_ids(int64_t n, int64_t bound, uint32_t seed) {
  std::mt19937 generator(seed);
  std::vector<int32_t> ids(static_cast<size_t>(n));
  for (int32_t& id : ids) id = static_cast<int32_t>(generator() % static_cast<uint32_t>(bound));
  return ids;
}

struct FreeDeleter {
  void operator()(void* p) const { std::free(p); }
};
std::unique_ptr<void, FreeDeleter> scratch_for(size_t bytes) {
  std::unique_ptr<void, FreeDeleter> scratch(std::aligned_alloc(64, bytes));
  std::fill_n(static_cast<float*>(scratch.get()), bytes / sizeof(float), NAN);
  return scratch;
}

struct Result {
  std::vector<float> loss, term, dh, dweight;
};

struct Problem {
  int64_t tokens, embed, vocab;
  bool transposed = false;  ///< the weight lies [embed, vocab]
  bool scaled_only = false;
  float z_loss = 0, soft_cap = 0;
  DType dtype = DType::f32;
  std::vector<float> h, weight, scale;
  std::vector<int32_t> targets;

  Problem(int64_t t, int64_t e, int64_t v, bool transpose = false)
      : tokens(t),
        embed(e),
        vocab(v),
        transposed(transpose),
        h(random_values(t * e, 1)),
        weight(random_values(v * e, 2, 0.3f)),
        scale(random_values(t, 3)),
        targets(random_ids(t, v, 4)) {
    for (size_t i = 0; i < scale.size(); i += 5) scale[i] = 0.0f;
  }
  /// The same with h and weight rounded to bf16, and read as such.
  Problem rounded() const {
    Problem p = *this;
    p.dtype = DType::bf16;
    for (auto* values : {&p.h, &p.weight})
      for (float& value : *values) value = Bf16(value);
    return p;
  }
  float w(int64_t v, int64_t e) const {
    return weight[static_cast<size_t>(transposed ? e * vocab + v : v * embed + e)];
  }

  Result run(XentGradients gradients, int threads) const {
    Products products(threads);
    const LinearXentShape shape = {
        tokens, embed,    vocab, embed,      transposed ? 1 : embed, transposed ? vocab : 1,
        z_loss, soft_cap, dtype, scaled_only};
    const cpu::LinearXent xent(products, shape, gradients);
    ThreadPool pool(threads);
    const auto scratch = scratch_for(xent.scratch_bytes(threads));
    Result r;
    r.loss.assign(static_cast<size_t>(tokens), NAN);
    r.term = r.loss;
    r.dh.assign(h.size(), NAN);
    r.dweight.assign(weight.size(), NAN);
    std::vector<Bf16> half_h(h.begin(), h.end()), half_weight(weight.begin(), weight.end()),
        dh(h.size());
    const bool is_bf16 = dtype == DType::bf16;
    LinearXentArrays arrays;
    arrays.h = is_bf16 ? static_cast<const void*>(half_h.data()) : h.data();
    arrays.weight = is_bf16 ? static_cast<const void*>(half_weight.data()) : weight.data();
    arrays.targets = targets.data();
    arrays.token_scale = scale.data();
    arrays.token_loss = r.loss.data();
    arrays.term = r.term.data();
    arrays.dh = is_bf16 ? static_cast<void*>(dh.data()) : r.dh.data();
    arrays.dweight = r.dweight.data();
    xent.run(pool, arrays, scratch.get());
    if (is_bf16) r.dh.assign(dh.begin(), dh.end());
    return r;
  }
};

void check_near(const char* name, const std::vector<float>& got, const std::vector<double>& want,
                double tolerance = kTolerance) {
  double scale = 1e-30, worst = 0;
  for (size_t i = 0; i < want.size(); ++i) {
    scale = std::max(scale, std::abs(want[i]));
    const double error = std::abs(got[i] - want[i]);
    worst = error <= worst ? worst : error;
  }
  INFO(name << ": error " << worst << " of " << scale);
  REQUIRE(worst <= tolerance * scale);
}

void check_problem(const Problem& p) {
  std::vector<double> loss, term, dh(p.h.size()), dweight(p.weight.size());
  for (int64_t t = 0; t < p.tokens; ++t) {
    std::vector<double> logits(static_cast<size_t>(p.vocab));
    double top = -INFINITY, total = 0;
    for (int64_t v = 0; v < p.vocab; ++v) {
      for (int64_t e = 0; e < p.embed; ++e) {
        logits[static_cast<size_t>(v)] +=
            double{p.h[static_cast<size_t>(t * p.embed + e)]} * p.w(v, e);
      }
      if (p.soft_cap > 0) {
        double& logit = logits[static_cast<size_t>(v)];
        logit = p.soft_cap * std::tanh(logit / p.soft_cap);
      }
      top = std::max(top, logits[static_cast<size_t>(v)]);
    }
    for (double x : logits) total += std::exp(x - top);
    const int32_t target = p.targets[static_cast<size_t>(t)];
    const double lse = top + std::log(total), scale = p.scale[static_cast<size_t>(t)];
    loss.push_back(lse - logits[static_cast<size_t>(target)]);
    term.push_back((loss.back() + p.z_loss * lse * lse) * scale);
    for (int64_t v = 0; v < p.vocab; ++v) {
      const double logit = logits[static_cast<size_t>(v)], softmax = std::exp(logit - top) / total;
      const double bent = p.soft_cap > 0 ? logit / p.soft_cap : 0;
      const double g =
          (softmax * (1 + 2 * p.z_loss * lse) - (v == target)) * scale * (1 - bent * bent);
      for (int64_t e = 0; e < p.embed; ++e) {
        dh[static_cast<size_t>(t * p.embed + e)] += g * p.w(v, e);
        dweight[static_cast<size_t>(v * p.embed + e)] +=
            g * p.h[static_cast<size_t>(t * p.embed + e)];
      }
    }
  }
  const Result got = p.run(XentGradients::kBoth, 2);
  INFO(p.tokens << " tokens, " << p.embed << " wide, " << p.vocab << " words");
  for (size_t i = 0; i < loss.size(); ++i) {
    REQUIRE(std::abs(got.loss[i] - loss[i]) <= kLossTolerance * std::max(1.0, loss[i]));
  }
  check_near("term", got.term, term);
  const double tolerance = p.dtype == DType::bf16 ? kBf16Tolerance : kTolerance;
  check_near("dh", got.dh, dh, tolerance);
  check_near("dweight", got.dweight, dweight, tolerance);
  REQUIRE(p.run(XentGradients::kNone, 2).loss == got.loss);
  const Result frozen = p.run(XentGradients::kHidden, 2);  // the weight's gradient is untouched
  REQUIRE(frozen.loss == got.loss);
  REQUIRE(frozen.dh == got.dh);
  REQUIRE(std::isnan(frozen.dweight[0]));
}

}  // namespace

TEST_CASE("the cross entropy of a linear layer agrees with double precision", "[kernels]") {
  check_problem({1, 1, 1});
  check_problem({1, 8, 2});
  check_problem({37, 12, 65});
  check_problem({130, 33, 127});
  check_problem({37, 12, 65, true});
}

TEST_CASE("z-loss and a cap on the logits agree with double precision", "[kernels]") {
  for (const float z_loss : {0.0f, 0.05f}) {
    for (const float soft_cap : {0.0f, 1.5f}) {
      for (Problem p : {Problem(1, 1, 1), Problem(37, 12, 65), Problem(130, 33, 127)}) {
        p.z_loss = z_loss;
        p.soft_cap = soft_cap;
        check_problem(p);
      }
    }
  }
}

TEST_CASE("bf16 factors agree with double precision of the same values", "[kernels]") {
  for (Problem p : {Problem(1, 1, 1), Problem(37, 12, 65), Problem(37, 12, 65, true),
                    Problem(130, 33, 127), Problem(260, 3, 40000)}) {
    check_problem(p.rounded());
  }
  Problem all(130, 33, 127);
  all.z_loss = 0.05f;
  all.soft_cap = 1.5f;
  check_problem(all.rounded());
  const Problem p = Problem(300, 4, 100000).rounded();
  const Result one = p.run(XentGradients::kBoth, 1);
  for (const int threads : {2, 3}) {
    const Result many = p.run(XentGradients::kBoth, threads);
    REQUIRE(many.loss == one.loss);
    REQUIRE(many.dh == one.dh);
    REQUIRE(many.dweight == one.dweight);
  }
}

TEST_CASE("tokens beyond a chunk continue the sums in order", "[kernels]") {
  const Problem p(700, 4, 100000);
  Products products(1);
  const cpu::LinearXent xent(products, {700, 4, 100000, 4, 4, 1}, XentGradients::kNone);
  REQUIRE(xent.chunk_tokens() == 256);
  const Result got = p.run(XentGradients::kBoth, 2);
  std::vector<float> dweight;
  for (const int64_t first : {0, 256, 512}) {
    Problem part(std::min<int64_t>(256, 700 - first), 4, 100000);
    part.weight = p.weight;
    for (int64_t t = 0; t < part.tokens; ++t) {
      const auto to = static_cast<size_t>(t), from = static_cast<size_t>(first + t);
      std::copy_n(p.h.begin() + static_cast<int64_t>(from) * 4, 4, part.h.begin() + t * 4);
      part.targets[to] = p.targets[from];
      part.scale[to] = p.scale[from];
    }
    const Result want = part.run(XentGradients::kBoth, 1);
    REQUIRE(std::equal(want.loss.begin(), want.loss.end(), got.loss.begin() + first));
    REQUIRE(std::equal(want.dh.begin(), want.dh.end(), got.dh.begin() + first * 4));
    if (first == 0) dweight.assign(want.dweight.size(), 0.0f);
    for (size_t i = 0; i < dweight.size(); ++i) dweight[i] += want.dweight[i];
  }
  REQUIRE(got.dweight == dweight);
}

TEST_CASE("dweight can be added to, and threads do not change a bit", "[kernels]") {
  const Problem p(300, 16, 70000);
  const Result one = p.run(XentGradients::kBoth, 1);
  for (const int threads : {2, 5}) {
    const Result many = p.run(XentGradients::kBoth, threads);
    REQUIRE(many.loss == one.loss);
    REQUIRE(many.dh == one.dh);
    REQUIRE(many.dweight == one.dweight);
  }
}

namespace {

void zero_where(Problem& p, bool (*zeroed)(size_t)) {
  for (size_t i = 0; i < p.scale.size(); ++i)
    p.scale[i] = zeroed(i) ? 0.0f : 1.0f + static_cast<float>(i % 3);
}

std::vector<double> doubles(const std::vector<float>& values) {
  return {values.begin(), values.end()};
}

/// Leaving tokens out gives what computing them gives, but that their losses are 0. What is left
/// out is not read.
void check_left_out(Problem p) {
  const double tolerance = p.dtype == DType::bf16 ? kBf16Tolerance : kTolerance;
  Result want = p.run(XentGradients::kBoth, 2);
  for (size_t i = 0; i < want.loss.size(); ++i)
    if (p.scale[i] == 0) want.loss[i] = 0;
  p.scaled_only = true;
  for (size_t i = 0; i < p.h.size(); ++i)
    if (p.scale[i / static_cast<size_t>(p.embed)] == 0) p.h[i] = NAN;
  const Result got = p.run(XentGradients::kBoth, 2);
  check_near("loss", got.loss, doubles(want.loss), kLossTolerance);
  check_near("term", got.term, doubles(want.term), kLossTolerance);
  check_near("dh", got.dh, doubles(want.dh), tolerance);
  check_near("dweight", got.dweight, doubles(want.dweight), tolerance);
  const Result alone = p.run(XentGradients::kBoth, 1), frozen = p.run(XentGradients::kHidden, 2);
  for (const Result& other : {alone, frozen}) {
    REQUIRE(got.loss == other.loss);
    REQUIRE(got.dh == other.dh);
  }
  REQUIRE(got.dweight == alone.dweight);
  REQUIRE(got.loss == p.run(XentGradients::kNone, 2).loss);
}

}  // namespace

TEST_CASE("tokens of scale 0 are left out, and nothing else changes", "[kernels]") {
  // Two chunks of 256 tokens and a rest; products large enough for leaving out to pay.
  Problem p(700, 64, 100000);
  const auto check = [](Problem& of, bool (*zeroed)(size_t)) {
    zero_where(of, zeroed);
    check_left_out(of);
  };
  check(p, [](size_t i) { return i % 100 < 60; });
  check(p, [](size_t) { return true; });
  p.z_loss = 0.05f;
  check(p, [](size_t i) { return i != 699; });
  Problem half = p.rounded();
  check(half, [](size_t i) { return i < 300; });
}

TEST_CASE("a few tokens of scale 0 are computed with the others, and have the loss 0",
          "[kernels]") {
  Problem p(700, 64, 100000);
  zero_where(p, [](size_t i) { return i % 100 == 0; });
  Result want = p.run(XentGradients::kBoth, 2);
  for (size_t i = 0; i < 700; i += 100) want.loss[i] = 0;
  p.scaled_only = true;
  const Result got = p.run(XentGradients::kBoth, 2);
  REQUIRE(got.loss == want.loss);
  REQUIRE(got.dh == want.dh);
  REQUIRE(got.dweight == want.dweight);
}

TEST_CASE("a target outside the vocabulary is refused", "[kernels]") {
  Problem p(3, 4, 5);
  p.targets[1] = 5;
  try {
    p.run(XentGradients::kNone, 2);
    FAIL("no error");
  } catch (const Error& error) {
    CHECK(error.kind() == ErrorKind::kData);
    CHECK_THAT(error.what(), Catch::Contains("the target of token 1 of a batch is 5") &&
                                 Catch::Contains("0 to 4"));
  }
}

TEST_CASE("the embedding gradient sums each id's rows in order of position", "[kernels]") {
  for (const int64_t positions : {0, 1, 7, 500}) {
    for (const int64_t vocab : {1, 3, 65, 2000}) {
      const int64_t width = 19, row = 23;
      const std::vector<int32_t> ids = random_ids(positions, vocab, 5);
      const std::vector<float> dy = random_values(positions * row, 6);
      std::vector<float> want(static_cast<size_t>(vocab * width));
      for (int64_t i = 0; i < positions; ++i) {
        for (int64_t c = 0; c < width; ++c) {
          want[static_cast<size_t>(ids[static_cast<size_t>(i)] * width + c)] +=
              dy[static_cast<size_t>(i * row + c)];
        }
      }
      const EmbeddingGradient gradient = {positions, vocab, width};
      for (const int threads : {1, 3}) {
        ThreadPool pool(threads);
        const auto scratch = scratch_for(gradient.scratch_bytes());
        std::vector<float> got(want.size(), NAN);
        gradient.run(pool, ids.data(), dy.data(), row, got.data(), scratch.get());
        REQUIRE(got == want);
      }
    }
  }
}

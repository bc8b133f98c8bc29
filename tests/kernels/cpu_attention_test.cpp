// Attention forward and backward against double precision, over masks, groups, layouts and threads.
#include <catch2/catch.hpp>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <memory>
#include <vector>

#include "base/bf16.h"
#include "base/random.h"
#include "kernels/cpu/attention.h"
#include "support/random_values.h"

using namespace levanter;
using levanter::testing::random_values;
using namespace levanter::cpu;

namespace {

constexpr double kTolerance = 1e-5;      // of an array's largest entry
constexpr double kFloor = 1e-7;          // for an array whose entries are all 0
constexpr double kBf16Tolerance = 1e-2;  // two and a half roundings to 8 bits
constexpr float kPoison = -12352.0f;     // a bf16 too

struct FreeDeleter {
  void operator()(void* p) const { std::free(p); }
};

/// One array [batch, position, head, head_dim] inside rows that may be wider, as a fused qkv is.
struct Array {
  std::vector<float> values;
  AttentionView view;
  int64_t start = 0;
  Array(int64_t batch, int64_t positions, int64_t heads, int64_t width, int64_t before,
        int64_t after, uint32_t seed)
      : start(before) {
    const int64_t row = before + heads * width + after;
    view = {positions * row, row, width};
    values = random_values(batch * positions * row, seed);
  }
  size_t at(int64_t b, int64_t t, int64_t h, int64_t d) const {
    return static_cast<size_t>(start + b * view.batch + t * view.position + h * view.head + d);
  }
  float* data() { return values.data() + start; }
  const float* data() const { return values.data() + start; }
  void round() {
    for (float& value : values) value = Bf16(value);
  }
  /// The values in the type that the kernels read, and back.
  std::vector<Bf16> halves() const { return {values.begin(), values.end()}; }
  void take(const std::vector<Bf16>& halves) { values.assign(halves.begin(), halves.end()); }
};

struct Problem {
  AttentionShape shape;
  bool segments;
  int64_t gap;

  AttentionShape s() const { return shape; }
};

/// All arrays of a problem and double-precision results in the same places.
struct Arrays {
  Array q, k, v, o, d_o, dq, dk, dv;
  std::vector<float> lse;
  std::vector<int32_t> segment_ids;
  std::vector<uint32_t> dropout_keys;

  explicit Arrays(const Problem& p)
      : q(p.shape.batch, p.shape.queries, p.shape.heads, p.shape.head_dim, 0, p.gap, 1),
        k(p.shape.batch, p.shape.keys, p.shape.kv_heads, p.shape.head_dim, p.gap, 0, 2),
        v(p.shape.batch, p.shape.keys, p.shape.kv_heads, p.shape.head_dim, p.gap, p.gap, 3),
        o(p.shape.batch, p.shape.queries, p.shape.heads, p.shape.head_dim, 0, p.gap, 4),
        d_o(p.shape.batch, p.shape.queries, p.shape.heads, p.shape.head_dim, p.gap, 0, 5),
        dq(p.shape.batch, p.shape.queries, p.shape.heads, p.shape.head_dim, 0, p.gap, 6),
        dk(p.shape.batch, p.shape.keys, p.shape.kv_heads, p.shape.head_dim, p.gap, 0, 7),
        dv(p.shape.batch, p.shape.keys, p.shape.kv_heads, p.shape.head_dim, p.gap, p.gap, 8),
        lse(static_cast<size_t>(p.shape.batch * p.shape.heads * p.shape.queries), kPoison) {
    for (Array* array : {&o, &dq, &dk, &dv}) {
      std::fill(array->values.begin(), array->values.end(), kPoison);
    }
    if (p.shape.dtype == DType::bf16)
      for (Array* array : {&q, &k, &v, &d_o}) array->round();
    for (int64_t b = 0; b < p.shape.batch; ++b) {
      dropout_keys.insert(dropout_keys.end(), {static_cast<uint32_t>(77 + b), 99u});
      for (int64_t t = 0; t < p.shape.keys; ++t) {
        segment_ids.push_back(static_cast<int32_t>(t * 3 / p.shape.keys + b));
      }
    }
  }

  void run(const Problem& p, int threads) {
    if (p.shape.dtype == DType::f32) {
      run_on(p, threads, {q.data(), k.data(), v.data(), d_o.data()},
             {o.data(), dq.data(), dk.data(), dv.data()});
      return;
    }
    std::vector<std::vector<Bf16>> in, out;
    for (const Array* array : {&q, &k, &v, &d_o}) in.push_back(array->halves());
    for (const Array* array : {&o, &dq, &dk, &dv}) out.push_back(array->halves());
    const auto at = [](std::vector<Bf16>& halves, const Array& array) {
      return static_cast<void*>(halves.data() + array.start);
    };
    run_on(p, threads, {at(in[0], q), at(in[1], k), at(in[2], v), at(in[3], d_o)},
           {at(out[0], o), at(out[1], dq), at(out[2], dk), at(out[3], dv)});
    o.take(out[0]);
    dq.take(out[1]);
    dk.take(out[2]);
    dv.take(out[3]);
  }

  struct Inputs {
    const void *q, *k, *v, *d_o;
  };
  struct Outputs {
    void *o, *dq, *dk, *dv;
  };
  void run_on(const Problem& p, int threads, const Inputs& from, const Outputs& to) {
    Products products(threads);
    const Attention forward(products, p.shape, Attention::Pass::kForward);
    const Attention backward(products, p.shape, Attention::Pass::kBackward);
    ThreadPool pool(threads);
    const size_t bytes =
        static_cast<size_t>(threads) *
        std::max(forward.scratch_bytes_per_worker(), backward.scratch_bytes_per_worker());
    REQUIRE(bytes % 64 == 0);
    const std::unique_ptr<void, FreeDeleter> scratch(std::aligned_alloc(64, bytes));
    const AttentionInput input = {from.q,
                                  from.k,
                                  from.v,
                                  q.view,
                                  k.view,
                                  v.view,
                                  p.segments ? segment_ids.data() : nullptr,
                                  p.shape.keep < 1 ? dropout_keys.data() : nullptr};
    std::fill_n(static_cast<float*>(scratch.get()), bytes / sizeof(float), NAN);
    forward.forward(pool, input, {to.o, o.view, lse.data()}, scratch.get());
    std::fill_n(static_cast<float*>(scratch.get()), bytes / sizeof(float), NAN);
    backward.backward(pool, input,
                      {to.o, lse.data(), from.d_o, o.view, d_o.view, to.dq, to.dk, to.dv, dq.view,
                       dk.view, dv.view},
                      scratch.get());
  }
};

/// The definition, in double precision.
struct Definition {
  std::vector<double> o, lse, dq, dk, dv;

  Definition(const Problem& problem, const Arrays& x) {
    const AttentionShape& s = problem.shape;
    o.resize(x.o.values.size());
    dq.resize(x.dq.values.size());
    dk.resize(x.dk.values.size());
    dv.resize(x.dv.values.size());
    for (int64_t b = 0; b < s.batch; ++b) {
      for (int64_t h = 0; h < s.heads; ++h) {
        for (int64_t t = 0; t < s.queries; ++t) query(problem, x, b, h, t);
      }
    }
  }

  void query(const Problem& problem, const Arrays& x, int64_t b, int64_t h, int64_t t) {
    const AttentionShape& s = problem.shape;
    const int64_t kv = h / (s.heads / s.kv_heads);
    const auto keys = static_cast<size_t>(s.keys);
    std::vector<double> p(keys), keep(keys, 1.0), dp(keys), slope(keys, 1.0);
    double total = 0, row = 0;
    for (int64_t key = 0; key < s.keys; ++key) {
      const auto segment = [&](int64_t at) {
        return x.segment_ids[static_cast<size_t>(b * s.keys + at)];
      };
      const int64_t last = t + s.keys - s.queries;
      if (s.causal && (key > last || (s.window > 0 && key <= last - s.window))) continue;
      if (problem.segments && segment(key) != segment(t)) continue;
      double score = 0;
      for (int64_t d = 0; d < s.head_dim; ++d) {
        score += double{x.q.values[x.q.at(b, t, h, d)]} * x.k.values[x.k.at(b, key, kv, d)];
      }
      score *= s.scale;
      if (s.soft_cap > 0) {
        const double bent = std::tanh(score / s.soft_cap);
        score = s.soft_cap * bent;
        slope[static_cast<size_t>(key)] = 1 - bent * bent;
      }
      total += p[static_cast<size_t>(key)] = std::exp(score);
      if (s.keep < 1) {
        const Key random = {x.dropout_keys[static_cast<size_t>(2 * b)],
                            x.dropout_keys[static_cast<size_t>(2 * b + 1)]};
        const auto counter = static_cast<uint64_t>((h * s.queries + t) * s.keys + key);
        const bool kept = uniform_from_bits(random_bits(random, counter)) < s.keep;
        keep[static_cast<size_t>(key)] = kept ? 1 / double{s.keep} : 0;
      }
    }
    lse.push_back(std::log(total));
    for (int64_t key = 0; key < s.keys; ++key) {
      const auto i = static_cast<size_t>(key);
      p[i] /= total;
      for (int64_t d = 0; d < s.head_dim; ++d) {
        const double g = x.d_o.values[x.d_o.at(b, t, h, d)];
        o[x.o.at(b, t, h, d)] += p[i] * keep[i] * x.v.values[x.v.at(b, key, kv, d)];
        dv[x.dv.at(b, key, kv, d)] += p[i] * keep[i] * g;
        dp[i] += keep[i] * g * x.v.values[x.v.at(b, key, kv, d)];
      }
      row += p[i] * dp[i];
    }
    for (int64_t key = 0; key < s.keys; ++key) {
      const auto i = static_cast<size_t>(key);
      const double ds = p[i] * (dp[i] - row) * s.scale * slope[i];
      for (int64_t d = 0; d < s.head_dim; ++d) {
        dq[x.dq.at(b, t, h, d)] += ds * x.k.values[x.k.at(b, key, kv, d)];
        dk[x.dk.at(b, key, kv, d)] += ds * x.q.values[x.q.at(b, t, h, d)];
      }
    }
  }
};

/// Elements of the array agree; what lies between its rows is still poison.
void check_array(const char* name, const Array& got, const std::vector<double>& want,
                 const AttentionShape& s, int64_t positions, int64_t heads) {
  const double tolerance = s.dtype == DType::bf16 ? kBf16Tolerance : kTolerance;
  double scale = 1e-30, worst = 0;
  std::vector<bool> inside(want.size());
  for (int64_t b = 0; b < s.batch; ++b) {
    for (int64_t t = 0; t < positions; ++t) {
      for (int64_t h = 0; h < heads; ++h) {
        for (int64_t d = 0; d < s.head_dim; ++d) {
          const size_t at = got.at(b, t, h, d);
          inside[at] = true;
          scale = std::max(scale, std::abs(want[at]));
          const double error = std::abs(got.values[at] - want[at]);
          worst = error <= worst ? worst : error;  // NaN counts as worst
        }
      }
    }
  }
  INFO(name << ": error " << worst << " of " << scale);
  REQUIRE(worst <= tolerance * scale + kFloor);
  for (size_t i = 0; i < want.size(); ++i) {
    if (!inside[i]) REQUIRE(got.values[i] == kPoison);
  }
}

void check_problem(const Problem& problem) {
  Arrays x(problem);
  x.run(problem, 2);
  const Definition want(problem, x);
  const AttentionShape& s = problem.shape;
  INFO("batch " << s.batch << " heads " << s.heads << "/" << s.kv_heads << " queries " << s.queries
                << " keys " << s.keys << " width " << s.head_dim << " causal " << s.causal
                << " segments " << problem.segments << " keep " << s.keep << " window " << s.window
                << " cap " << s.soft_cap);
  check_array("o", x.o, want.o, s, s.queries, s.heads);
  check_array("dq", x.dq, want.dq, s, s.queries, s.heads);
  check_array("dk", x.dk, want.dk, s, s.keys, s.kv_heads);
  check_array("dv", x.dv, want.dv, s, s.keys, s.kv_heads);
  for (size_t i = 0; i < want.lse.size(); ++i) REQUIRE(std::abs(x.lse[i] - want.lse[i]) <= 1e-5);
}

}  // namespace

TEST_CASE("attention and its gradients agree with double precision", "[kernels]") {
  for (const bool causal : {false, true}) {
    for (const bool segments : {false, true}) {
      for (const float keep : {1.0f, 0.8f}) {
        for (const int64_t gap : {0, 24}) {
          for (const int64_t positions : {1, 5, 64, 67, 131}) {
            check_problem(
                {{2, 2, 2, positions, positions, 8, 0.3f, 0, causal, 0, keep}, segments, gap});
          }
        }
      }
    }
  }
}

TEST_CASE("groups of query heads share keys, and long rows go through several tiles", "[kernels]") {
  check_problem({{2, 6, 2, 33, 33, 16, 0.25f, 0, true, 0, 1.0f}, false, 8});
  check_problem({{1, 4, 1, 70, 70, 5, 0.4f, 0, true, 0, 0.9f}, true, 0});
  check_problem({{1, 2, 1, 300, 300, 32, 0.17f, 0, true, 0, 1.0f}, false, 3});
  check_problem({{1, 1, 1, 300, 300, 7, 0.3f, 0, false, 0, 1.0f}, true, 0});
}

TEST_CASE("fewer queries than keys stand at the end of the keys", "[kernels]") {
  check_problem({{2, 2, 1, 3, 40, 8, 0.3f, 0, true, 0, 1.0f}, false, 0});
  check_problem({{2, 2, 2, 5, 290, 8, 0.3f, 0, false, 0, 1.0f}, false, 4});
  check_problem({{1, 2, 2, 1, 17, 8, 0.3f, 0, true, 0, 0.7f}, false, 0});
}

TEST_CASE("a window hides older keys, and a cap bends the scores", "[kernels]") {
  for (const int64_t window : {1, 5, 64, 70, 200, 1000}) {
    check_problem({{1, 2, 1, 300, 300, 8, 0.3f, 0, true, window, 1.0f}, false, 0});
  }
  check_problem({{1, 2, 2, 67, 131, 8, 0.3f, 0, true, 30, 1.0f}, false, 0});
  for (const bool causal : {false, true}) {
    check_problem({{2, 2, 2, 67, 67, 5, 1.5f, 3.0f, causal, 0, 1.0f}, false, 3});
  }
  check_problem({{1, 4, 2, 150, 150, 16, 0.9f, 2.0f, true, 40, 0.8f}, true, 0});
}

TEST_CASE("many keys go through several blocks", "[kernels]") {
  check_problem({{1, 1, 1, 521, 521, 4, 0.3f, 0, true, 0, 1.0f}, false, 0});
  check_problem({{1, 1, 1, 3, 600, 4, 0.3f, 0, false, 0, 0.9f}, false, 0});
  check_problem({{1, 1, 1, 700, 700, 4, 0.3f, 0, true, 300, 1.0f}, false, 0});
}

TEST_CASE("bf16 attention agrees with double precision of the same values", "[kernels]") {
  const auto check = [](AttentionShape shape, bool segments, int64_t gap) {
    shape.dtype = DType::bf16;
    check_problem({shape, segments, gap});
  };
  for (const bool causal : {false, true}) {
    for (const int64_t positions : {1, 5, 64, 67, 131, 300}) {
      check({2, 2, 2, positions, positions, 8, 0.3f, 0, causal, 0, 1.0f}, false, 24);
      check({1, 4, 2, positions, positions, 32, 0.2f, 0, causal, 0, 0.8f}, true, 0);
    }
  }
  check({1, 2, 2, 70, 70, 5, 0.4f, 3.0f, true, 40, 1.0f}, false, 3);
  check({1, 1, 1, 521, 521, 64, 0.125f, 0, true, 0, 1.0f}, false, 0);
  check({1, 2, 1, 3, 290, 16, 0.3f, 0, false, 0, 1.0f}, false, 8);
}

TEST_CASE("attention's scratch grows with the number of positions, not its square", "[kernels]") {
  Products products(1);
  for (const auto pass : {Attention::Pass::kForward, Attention::Pass::kBackward}) {
    const auto bytes = [&](int64_t positions) {
      const AttentionShape shape = {1, 2, 1, positions, positions, 16, 1.0f, 0, true, 0, 1.0f};
      return Attention(products, shape, pass).scratch_bytes_per_worker();
    };
    REQUIRE(bytes(4096) <= 2 * bytes(2048));
    REQUIRE(bytes(2048) <= 2 * bytes(1024));
  }
}

TEST_CASE("attention gives the same bits with any number of threads", "[kernels]") {
  for (const DType dtype : {DType::f32, DType::bf16}) {
    const Problem problem = {
        {3, 4, 2, 330, 330, 16, 0.25f, 8.0f, true, 290, 0.9f, dtype}, true, 16};
    Arrays one(problem);
    one.run(problem, 1);
    for (const int threads : {2, 3, 5}) {
      Arrays many(problem);
      many.run(problem, threads);
      REQUIRE(many.o.values == one.o.values);
      REQUIRE(many.lse == one.lse);
      REQUIRE(many.dq.values == one.dq.values);
      REQUIRE(many.dk.values == one.dk.values);
      REQUIRE(many.dv.values == one.dv.values);
    }
  }
}

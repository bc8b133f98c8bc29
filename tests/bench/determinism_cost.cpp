// What fixed orders cost: each rule's own kernel against the form that is free to choose, in the
// sizes of GPT-2 124M with 4 x 1024 tokens.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <vector>

#include "kernels/cpu/embedding.h"
#include "kernels/cpu/gemm.h"
#include "kernels/cpu/kernel.h"

using namespace levanter;
using namespace levanter::cpu;

namespace {

constexpr int64_t kTokens = 4096, kEmbed = 768, kMlp = 3072, kLayers = 12, kVocab = 50257;

double seconds_of(const std::function<void()>& work) {
  using Clock = std::chrono::steady_clock;
  const auto end = Clock::now() + std::chrono::milliseconds(500);
  double best = 1e30;
  do {
    const auto start = Clock::now();
    work();
    best = std::min(best, std::chrono::duration<double>(Clock::now() - start).count());
  } while (Clock::now() < end);
  return best;
}

void report(const char* rule, double fixed, double free, double times_a_step) {
  std::printf("%-46s %8.3f ms against %8.3f, %4.0f times a step: %7.2f ms\n", rule, fixed * 1e3,
              free * 1e3, times_a_step, (fixed - free) * times_a_step * 1e3);
}

struct Machine {
  int threads = available_threads();
  ThreadPool pool{threads};
  Products products{threads};
  const VectorKernels& vector = vector_kernels();
};

/// Tiles fixed by the shape against one piece of rows a thread; adding after the product is
/// complete against not adding at all, a bound on what the fused sum of a library could save.
void price_products(Machine& m) {
  const ProductShape shape{kTokens, kMlp, kEmbed, kEmbed, 1, kMlp, 1, kMlp};
  const Gemm gemm(m.products, shape);
  std::vector<float> a(kTokens * kEmbed, 1), b(kEmbed * kMlp, 1), c(kTokens * kMlp, 1);
  std::unique_ptr<void, void (*)(void*)> scratch(
      std::aligned_alloc(64, (gemm.run_scratch_bytes(m.threads) + 127) / 64 * 64), std::free);
  const double fixed = seconds_of([&] {
    gemm.run(m.pool, {a.data(), b.data()}, c.data(), Store::kOverwrite, scratch.get());
  });
  ProductShape piece = shape;
  piece.m = kTokens / m.threads;
  const Product& product = m.products.get(piece);
  const size_t stride = (product.scratch_bytes() + 63) / 64 * 64;
  std::unique_ptr<void, void (*)(void*)> own(
      std::aligned_alloc(64, stride * static_cast<size_t>(m.threads) + 64), std::free);
  const double free = seconds_of([&] {
    m.pool.parallel_for(m.threads, [&](int64_t i, int worker) {
      product.run(worker, a.data() + i * piece.m * kEmbed, b.data(), c.data() + i * piece.m * kMlp,
                  static_cast<char*>(own.get()) + static_cast<size_t>(worker) * stride);
    });
  });
  report("products: tiles by shape, not by threads", fixed, free, 6 * kLayers);
  const double added = seconds_of([&] {
    gemm.run(m.pool, {a.data(), b.data()}, c.data(), Store::kAdd, scratch.get());
  });
  report("weight gradients: product first, then added", added, fixed, 4 * kLayers);
}

/// Sums over rows in blocks of 64 against one half of the rows a thread.
void price_column_sums(Machine& m) {
  std::vector<float> x(kTokens * kMlp, 1), y(kMlp);
  const int64_t blocks = ceil_div(kTokens, kBlockRows), half = kTokens / m.threads;
  std::vector<float> partial(static_cast<size_t>(std::max<int64_t>(blocks, m.threads) * kMlp));
  const auto sum = [&](int64_t pieces, int64_t rows) {
    m.pool.parallel_for(pieces, [&](int64_t i, int) {
      m.vector.sum_rows(partial.data() + i * kMlp, x.data() + i * rows * kMlp, kMlp, rows, kMlp);
    });
    m.vector.sum_rows(y.data(), partial.data(), kMlp, pieces, kMlp);
  };
  const double fixed = seconds_of([&] { sum(blocks, kBlockRows); });
  const double free = seconds_of([&] { sum(m.threads, half); });
  report("bias gradients: blocks of 64 rows", fixed, free, 2 * kLayers);
}

/// Rows sorted by token against rows added where they fall, each thread its share of the columns.
void price_embedding(Machine& m) {
  std::vector<int32_t> ids(kTokens);
  for (size_t i = 0; i < ids.size(); ++i) ids[i] = static_cast<int32_t>(i * 7919 % kVocab);
  std::vector<float> dy(kTokens * kEmbed, 1), table(static_cast<size_t>(kVocab * kEmbed));
  const EmbeddingGradient gradient{kTokens, kVocab, kEmbed};
  std::vector<std::byte> scratch(gradient.scratch_bytes());
  const double fixed = seconds_of(
      [&] { gradient.run(m.pool, ids.data(), dy.data(), kEmbed, table.data(), scratch.data()); });
  const int64_t width = kEmbed / m.threads;
  const double free = seconds_of([&] {
    for_spans(m.pool, kVocab * kEmbed, [&](int64_t begin, int64_t end) {
      std::memset(table.data() + begin, 0, static_cast<size_t>(end - begin) * 4);
    });
    m.pool.parallel_for(m.threads, [&](int64_t i, int) {
      for (size_t p = 0; p < ids.size(); ++p)
        m.vector.add_to(table.data() + ids[p] * kEmbed + i * width,
                        dy.data() + static_cast<int64_t>(p) * kEmbed + i * width, width);
    });
  });
  report("embedding gradient: sorted by token", fixed, free, 1);
}

/// A norm by the shard axis against a flat sum; a group's copy against none.
void price_gradients(Machine& m) {
  std::vector<float> x(kEmbed * kMlp, 1), y(x.size()), sums(kEmbed);
  float total = 0;
  const double fixed = seconds_of([&] {
    for_rows(m.pool, kEmbed, kMlp, [&](int64_t first, int64_t count) {
      for (int64_t r = first; r < first + count; ++r)
        sums[static_cast<size_t>(r)] = m.vector.sum_squares(x.data() + r * kMlp, kMlp);
    });
    total = m.vector.sum(sums.data(), kEmbed);
  });
  const auto n = static_cast<int64_t>(x.size()), piece = n / m.threads;
  const double free = seconds_of([&] {
    m.pool.parallel_for(m.threads, [&](int64_t i, int) {
      sums[static_cast<size_t>(i)] = m.vector.sum_squares(x.data() + i * piece, piece);
    });
    total = m.vector.sum(sums.data(), m.threads);
  });
  if (!(total > 0)) std::printf("the norm is wrong\n");
  const double matrices = 124e6 / static_cast<double>(n);
  report("gradient norm: one sum a shard index", fixed, free, matrices);
  const double copy = seconds_of([&] { std::memcpy(y.data(), x.data(), x.size() * 4); });
  report("a gradient group's copy, of every group", copy, 0, matrices);
}

}  // namespace

int main() {
  Machine machine;
  std::printf("%d threads\n", machine.threads);
  price_products(machine);
  price_column_sums(machine);
  price_embedding(machine);
  price_gradients(machine);
}

// Large products of bf16 by the processor's tiles beside oneDNN's, in turn, in the sizes of GPT-2
// 124M with 4 x 1024 tokens: GFLOP/s, and the share of what the instruction alone does at that
// moment; and what packing both factors takes, in ns an element of them. tile_rates [THREADS
// [REPEATS]]
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "base/bf16.h"
#include "base/processor.h"
#include "kernels/cpu/gemm.h"
#include "kernels/cpu/instruction_rate.h"

using namespace levanter;
using namespace levanter::cpu;

namespace {

struct Case {
  const char* name;
  int64_t m, n, k;
  bool a_turned, b_turned;
  Store store = Store::kOverwrite;
};
constexpr Case kCases[] = {
    {"attention out", 4096, 768, 768, false, false},
    {"query key value", 4096, 2304, 768, false, false},
    {"up", 4096, 3072, 768, false, false},
    {"down", 4096, 768, 3072, false, false},
    {"dX of up", 4096, 768, 3072, false, true},
    {"dW of up", 768, 3072, 4096, true, false},
    {"dW of up, added", 768, 3072, 4096, true, false, Store::kAdd},
    {"dW of out", 768, 768, 4096, true, false},
    {"logits", 512, 50257, 768, false, true},
    {"dh", 512, 768, 50257, false, false},
    {"dW of the head", 50257, 768, 512, true, false},
    {"shakespeare up", 4096, 1536, 384, false, false},
};

double now_seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}
double seconds_of(const std::function<void()>& work) {
  const double start = now_seconds();
  work();
  return now_seconds() - start;
}

/// The instruction's rate on all threads just now, in operations a second; 0 for none.
double instruction_rate(ThreadPool& pool) {
  constexpr int64_t kRounds = 4000;
  const ProductInstruction* instruction = product_instruction(DType::bf16);
  if (instruction == nullptr) return 0;
  const double seconds = seconds_of(
      [&] { pool.parallel_for(pool.threads(), [&](int64_t, int) { instruction->run(kRounds); }); });
  return static_cast<double>(kRounds * pool.threads()) * instruction->flops / seconds;
}

/// The best of some runs, and the median share of the instruction's rate beside each.
class Measured {
 public:
  void run(ThreadPool& pool, const std::function<void()>& work) {
    const double before = instruction_rate(pool), seconds = seconds_of(work);
    best_ = std::min(best_, seconds);
    possible_.push_back(seconds * (before + instruction_rate(pool)) / 2);
  }
  double seconds() const { return best_; }
  /// NaN without such an instruction.
  double share(double flops) {
    std::sort(possible_.begin(), possible_.end());
    return flops / possible_[possible_.size() / 2];
  }

 private:
  double best_ = 1e30;
  std::vector<double> possible_;
};

using Memory = std::unique_ptr<void, void (*)(void*)>;
Memory memory_for(size_t bytes) {
  return {std::aligned_alloc(64, (bytes + 127) / 64 * 64), std::free};
}

std::vector<Bf16> factor(int64_t n) {
  std::vector<Bf16> values(static_cast<size_t>(n));
  for (size_t i = 0; i < values.size(); ++i)
    values[i] = static_cast<float>((i * 2654435761u >> 7) % 255 + 1) / 128 - 1;
  return values;
}

double nanoseconds_an_element(const Case& c, double seconds) {
  return seconds * 1e9 / static_cast<double>((c.m + c.n) * c.k);
}

/// A product by tiles, or by the library for null.
class TimedGemm {
 public:
  TimedGemm(ThreadPool& pool, const ProductShape& shape, TileKernel tiles)
      : pool_(pool),
        products_(pool.threads(), {}, tiles),
        gemm_(products_, shape),
        scratch_(memory_for(gemm_.run_scratch_bytes(pool.threads()))) {}

  void run(const Factors& factors, float* result, Store store) {
    Factors ready;
    packing_.run(pool_, [&] { ready = gemm_.pack(pool_, factors, scratch_.get()); });
    char* const tiles = static_cast<char*>(scratch_.get()) + gemm_.packed_bytes();
    product_.run(pool_, [&] { gemm_.run_tiles(pool_, ready, result, store, tiles); });
    all_.run(pool_, [&] { gemm_.run(pool_, factors, result, store, scratch_.get()); });
  }
  bool goes_by_tiles() const { return gemm_.grid().tile_kernel != nullptr; }
  void print(const char* name, const Case& c) {
    const double flops =
        2 * static_cast<double>(c.m) * static_cast<double>(c.n) * static_cast<double>(c.k);
    std::printf(" | %s %5.0f %3.0f %%, packed before %5.0f %3.0f %%, packing %.3f", name,
                flops / all_.seconds() / 1e9, 100 * all_.share(flops),
                flops / product_.seconds() / 1e9, 100 * product_.share(flops),
                nanoseconds_an_element(c, packing_.seconds()));
  }

 private:
  ThreadPool& pool_;
  Products products_;
  Gemm gemm_;
  Memory scratch_;
  Measured packing_, product_, all_;
};

void measure(ThreadPool& pool, const Case& c, int repeats) {
  ProductShape shape{c.m, c.n, c.k, c.k, 1, c.n, 1, c.n, DType::bf16};
  if (c.a_turned) shape.a_row = 1, shape.a_col = c.m;
  if (c.b_turned) shape.b_row = 1, shape.b_col = c.k;
  const std::vector<Bf16> a = factor(c.m * c.k), b = factor(c.k * c.n);
  std::vector<float> result(static_cast<size_t>(c.m * c.n));
  const Memory panels_a = memory_for(2 * static_cast<size_t>(panel_elements(c.m, c.k))),
               panels_b = memory_for(2 * static_cast<size_t>(panel_elements(c.n, c.k)));
  TimedGemm library(pool, shape, nullptr);
  std::optional<TimedGemm> tiles;
  if (usable_tiles() != nullptr) tiles.emplace(pool, shape, usable_tiles());
  Measured packing;
  for (int r = 0; r < repeats; ++r) {
    library.run({a.data(), b.data()}, result.data(), c.store);
    if (tiles) tiles->run({a.data(), b.data()}, result.data(), c.store);
    packing.run(pool, [&] {
      pack_panels(pool, shape, a.data(), panels_a.get(), b.data(), panels_b.get());
    });
  }
  std::printf("%-16s %5ld x %5ld x %5ld", c.name, static_cast<long>(c.m), static_cast<long>(c.n),
              static_cast<long>(c.k));
  library.print("library", c);
  if (tiles) tiles->print(tiles->goes_by_tiles() ? "tiles" : "(library)", c);
  std::printf(" | panels %.3f ns an element\n", nanoseconds_an_element(c, packing.seconds()));
  std::fflush(stdout);
}

}  // namespace

int main(int count, char** arguments) {
  const int threads = count > 1 ? std::atoi(arguments[1]) : available_threads();
  const int repeats = count > 2 ? std::atoi(arguments[2]) : 7;
  ThreadPool pool(threads);
  std::printf("%d threads on %s; %s\n", threads, instruction_set().c_str(),
              usable_tiles() != nullptr ? "tiles are used" : "no tiles are used");
  for (const Case& c : kCases) measure(pool, c, repeats);
}

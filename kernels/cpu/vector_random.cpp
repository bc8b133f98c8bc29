// Threefry-2x32 with 20 rounds (Salmon et al. 2011), sixteen counters at a time.
#include "kernels/cpu/vector_math.h"
#include "kernels/cpu/vector_parts.h"

namespace levanter::cpu::LEVANTER_ISA {
namespace {

template <int kCount>
[[gnu::always_inline]] inline Words rotate(Words a) {
  return (a << kCount) | (a >> (32 - kCount));
}

struct Block {
  Words a, b;
};

template <int kRotation>
[[gnu::always_inline]] inline void mix(Block& x) {
  x.a = x.a + x.b;
  x.b = rotate<kRotation>(x.b) ^ x.a;
}

[[gnu::always_inline]] inline void add_key(Block& x, uint32_t a, uint32_t b, uint32_t round) {
  x.a = x.a + splat(a);
  x.b = x.b + splat(b + round);
}

/// The upper and lower words of sixteen counters from `first` on.
[[gnu::always_inline]] inline Block counters(uint64_t first) {
  static constexpr uint32_t kIndex[kLanes] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
  const auto high = static_cast<uint32_t>(first >> 32), low = static_cast<uint32_t>(first);
  const Words lows = splat(low) + load(kIndex);
  if (low <= UINT32_MAX - (kLanes - 1)) return {splat(high), lows};
  uint32_t highs[kLanes];
  for (int64_t lane = 0; lane < kLanes; ++lane) {
    highs[lane] = static_cast<uint32_t>((first + static_cast<uint64_t>(lane)) >> 32);
  }
  return {load(highs), lows};
}

/// The bits of sixteen counters from `counter` on.
[[gnu::always_inline]] inline Words block_bits(const RandomSpan& random, uint64_t counter) {
  const uint32_t k0 = random.key_hi, k1 = random.key_lo, k2 = k0 ^ k1 ^ 0x1bd11bdau;
  Block x = counters(counter);
  add_key(x, k0, k1, 0);
  mix<13>(x), mix<15>(x), mix<26>(x), mix<6>(x);
  add_key(x, k1, k2, 1);
  mix<17>(x), mix<29>(x), mix<16>(x), mix<24>(x);
  add_key(x, k2, k0, 2);
  mix<13>(x), mix<15>(x), mix<26>(x), mix<6>(x);
  add_key(x, k0, k1, 3);
  mix<17>(x), mix<29>(x), mix<16>(x), mix<24>(x);
  add_key(x, k1, k2, 4);
  mix<13>(x), mix<15>(x), mix<26>(x), mix<6>(x);
  add_key(x, k2, k0, 5);
  return x.a ^ x.b;
}

[[gnu::always_inline]] inline Floats uniform(Words word) {
  return from_bits((word >> 9) | splat(uint32_t{0x3f800000})) - splat(1.0f);
}

void random_bits(uint32_t* y, int64_t n, const RandomSpan& random) {
  for_vectors(n, [=](int64_t i, int64_t count) {
    uint32_t words[kLanes];
    store(words, block_bits(random, random.counter + static_cast<uint64_t>(i)));
    __builtin_memcpy(y + i, words, sizeof(uint32_t) * static_cast<size_t>(count));
  });
}

void random_uniform(float* y, int64_t n, const RandomSpan& random) {
  for_vectors(n, [=](int64_t i, int64_t count) {
    store_up_to(y + i, uniform(block_bits(random, random.counter + static_cast<uint64_t>(i))),
                count);
  });
}

void dropout(float* y, const float* a, int64_t n, float keep, const RandomSpan& random) {
  const Floats threshold = splat(keep);
  for_vectors(n, [=](int64_t i, int64_t count) {
    const Floats u = uniform(block_bits(random, random.counter + static_cast<uint64_t>(i)));
    const Floats kept = load_up_to(a + i, count) / threshold;
    store_up_to(y + i, select(u < threshold, kept, splat(0.0f)), count);
  });
}

}  // namespace

void fill_random(VectorKernels& table) {
  table.random_bits = random_bits;
  table.random_uniform = random_uniform;
  table.dropout = dropout;
}

}  // namespace levanter::cpu::LEVANTER_ISA

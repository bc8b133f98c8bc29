// Random numbers that depend on a key and an index only: Threefry-2x32 with JAX's partitionable
// indexing. Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3".
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

namespace levanter {

/// 64 bits that name a stream of random numbers; equal keys give equal numbers.
struct Key {
  uint32_t hi = 0;
  uint32_t lo = 0;
  bool operator==(const Key&) const = default;
};

/// The key of a seed: its upper and lower half, as jax.random.key with 64-bit integers enabled.
Key key_from_seed(uint64_t seed);

/// Twenty rounds of Threefry on the words (x0, x1) under `key`.
std::array<uint32_t, 2> threefry2x32(Key key, uint32_t x0, uint32_t x1);

/// The key of `data` under `key`, as jax.random.fold_in.
Key fold_in(Key key, uint32_t data);

/// The key of a name or path under `key`: the two halves of its XXH3 64-bit hash, folded in upper
/// half first. Ours, JAX has none.
Key fold_in(Key key, std::string_view path);

/// 32 random bits: element `index`, in row-major order, of jax.random.bits(key, shape, uint32).
uint32_t random_bits(Key key, uint64_t index);

/// An integer in [0, bound), element `index` of its stream: floor(64 random bits * bound / 2^64),
/// so that no value is more likely than another by more than bound / 2^64.
///   bound  >= 1
uint64_t random_below(Key key, uint64_t index, uint64_t bound);

/// Bits as a float in [0, 1), a multiple of 2^-23, exactly as jax.random.uniform makes it.
float uniform_from_bits(uint32_t bits);

/// A float in [lo, hi): max(lo, u * (hi - lo) + lo), u in [0, 1) and the last two operations
/// rounded once, as JAX's compiled jax.random.uniform does; may equal hi where rounding takes it
/// there.
float uniform(Key key, uint64_t index, float lo, float hi);

/// Bits as a float of the normal distribution: sqrt(2) * erfinv(u), u uniform in (-1, 1), erfinv by
/// the polynomials of Giles 2010, "Approximating the erfinv function".
/// Within 4 ulp of jax.random.normal; the same bits on any processor.
float normal_from_bits(uint32_t bits);

/// A float of the normal distribution with mean 0 and variance 1.
float normal(Key key, uint64_t index);

/// out[i] = normal(key, first + i).
void fill_normal(Key key, uint64_t first, std::span<float> out);

}  // namespace levanter

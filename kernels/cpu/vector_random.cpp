// Random bits, uniform numbers and dropout over spans.
// Plain twins: kernels/reference/random_bits.cpp, uniform.cpp and src/ops/composite/dropout.cpp.
#include "kernels/cpu/vector_math.h"
#include "kernels/cpu/vector_parts.h"
#include "kernels/cpu/vector_threefry.h"

namespace levanter::cpu::LEVANTER_ISA {
namespace {

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

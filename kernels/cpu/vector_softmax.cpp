// Rows of scores: the softmax of attention, and cross entropy.
#include "kernels/cpu/vector_math.h"
#include "kernels/cpu/vector_parts.h"

namespace levanter::cpu::LEVANTER_ISA {
namespace {

/// The lanes of [i, i + count) that the mask allows.
[[gnu::always_inline]] inline Ints allowed(const KeyMask& mask, int64_t i, int64_t count) {
  const int64_t inside = mask.limit - i < count ? mask.limit - i : count;
  Ints lanes = lanes_below(inside);
  if (mask.key_segments != nullptr) {
    Ints segments;
    if (inside == kLanes) {
      segments = load(mask.key_segments + i);
    } else {
      int32_t part[kLanes] = {};
      for (int64_t j = 0; j < inside; ++j) part[j] = mask.key_segments[i + j];
      segments = load(part);
    }
    lanes = lanes & (segments == splat(mask.segment));
  }
  return lanes;
}

void clear(float* s, int64_t n) {
  for_vectors(n, [=](int64_t i, int64_t count) { store_up_to(s + i, splat(0.0f), count); });
}

float attention_softmax(float* s, int64_t n, float scale, const KeyMask& mask) {
  const Floats by = splat(scale), lowest = splat(-__builtin_inff());
  Floats largest = lowest;
  for_vectors(mask.limit, [&](int64_t i, int64_t count) {
    Floats x = by * load_up_to(s + i, count);
    if (count != kLanes || mask.key_segments != nullptr) {
      x = select(allowed(mask, i, count), x, lowest);
    }
    store_up_to(s + i, x, count);
    largest = larger(largest, x);
  });
  const float top = fold_max(largest);
  if (top == -__builtin_inff()) {
    // No key is allowed, or every allowed score is NaN: then the row goes on to be NaN.
    const float all = sum_vectors(mask.limit, [=](int64_t i, int64_t count) {
      const Floats x = load_up_to(s + i, count);
      return count == kLanes ? x : select(lanes_below(count), x, splat(0.0f));
    });
    if (all == all) {
      clear(s, n);
      return top;
    }
  }
  const Floats shift = splat(top);
  const float total = sum_vectors(mask.limit, [=](int64_t i, int64_t count) {
    Floats x = load_up_to(s + i, count) - shift;
    if (count != kLanes) x = select(lanes_below(count), x, lowest);
    const Floats e = exp_negative(x);
    store_up_to(s + i, e, count);
    return e;
  });
  const Floats norm = splat(1.0f / total);
  for_vectors(mask.limit, [=](int64_t i, int64_t count) {
    store_up_to(s + i, load_up_to(s + i, count) * norm, count);
  });
  clear(s + mask.limit, n - mask.limit);
  float lanes[kLanes];
  store(lanes, log(splat(total)));
  return top + lanes[0];
}

void attention_recompute(float* s, int64_t n, float scale, float lse, const KeyMask& mask) {
  if (lse == -__builtin_inff()) {
    clear(s, n);
    return;
  }
  const Floats by = splat(scale), shift = splat(lse), lowest = splat(-__builtin_inff());
  for_vectors(mask.limit, [&](int64_t i, int64_t count) {
    Floats x = by * load_up_to(s + i, count) - shift;
    if (mask.key_segments != nullptr) x = select(allowed(mask, i, count), x, lowest);
    store_up_to(s + i, exp_negative(x), count);
  });
  clear(s + mask.limit, n - mask.limit);
}

void attention_backward(float* ds, const float* p, const float* dp, float d, float scale,
                        int64_t n) {
  const Floats shift = splat(d), by = splat(scale);
  for_vectors(n, [=](int64_t i, int64_t count) {
    const Floats x = load_up_to(p + i, count) * (load_up_to(dp + i, count) - shift) * by;
    store_up_to(ds + i, x, count);
  });
}

float cross_entropy(float* logits, int64_t n, int64_t target, float scale, bool gradient,
                    float* loss) {
  const Floats lowest = splat(-__builtin_inff());
  Floats largest = lowest;
  for_vectors(n, [&](int64_t i, int64_t count) {
    const Floats x = load_up_to(logits + i, count);
    largest = larger(largest, count == kLanes ? x : select(lanes_below(count), x, lowest));
  });
  const float top = fold_max(largest);
  const float wanted = logits[target];
  const Floats shift = splat(top);
  // The target apart from the others: at it, softmax - 1 is minus the others' sum, and no digits
  // cancel when the softmax is near 1.
  logits[target] = -__builtin_inff();
  const float others = sum_vectors(n, [=](int64_t i, int64_t count) {
    Floats x = load_up_to(logits + i, count) - shift;
    if (count != kLanes) x = select(lanes_below(count), x, lowest);
    const Floats e = exp_negative(x);
    if (gradient) store_up_to(logits + i, e, count);
    return e;
  });
  float lanes[kLanes];
  store(lanes, exp_negative(splat(wanted - top)));
  const float total = others + lanes[0];
  store(lanes, log(splat(total)));
  *loss = lanes[0] - (wanted - top);
  if (gradient) {
    const Floats by = splat(scale / total);
    for_vectors(n, [=](int64_t i, int64_t count) {
      store_up_to(logits + i, load_up_to(logits + i, count) * by, count);
    });
    logits[target] = -others * (scale / total);
  } else {
    logits[target] = wanted;
  }
  return top + lanes[0];
}

}  // namespace

void fill_softmax(VectorKernels& table) {
  table.attention_softmax = attention_softmax;
  table.attention_recompute = attention_recompute;
  table.attention_backward = attention_backward;
  table.cross_entropy = cross_entropy;
}

}  // namespace levanter::cpu::LEVANTER_ISA

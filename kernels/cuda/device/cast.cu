// Values converted to another element type, copied to another layout, or made from nothing.
#include "kernels/cuda/device/device.cuh"

namespace levanter::cuda::kernels {

inline bool is_real(Element element) {
  return element == Element::kF32 || element == Element::kBf16;
}

/// Towards zero; the nearest that there is for a number outside, 0 for NaN.
inline uint32_t whole_number(float x, Element element) {
  if (x != x) return 0;
  if (element == Element::kU32) {
    if (x <= 0.0f) return 0;
    return x < 4294967296.0f ? uint32_t(x) : 0xffffffffu;
  }
  if (x < -2147483648.0f) return 0x80000000u;
  return x < 2147483648.0f ? uint32_t(int32_t(x)) : 0x7fffffffu;
}

/// An integer as a word, and a word as a float.
inline uint32_t load_whole(const CastArguments& a, int64_t at) {
  if (a.from_element == Element::kI8)
    return uint32_t(int32_t(static_cast<const int8_t*>(a.from)[at]));
  return load_word(a.from, 4, at);
}
inline float real_number(uint32_t word, Element element) {
  return element == Element::kU32 ? float(word) : float(int32_t(word));
}

LEV_KERNEL(cast, CastArguments) {
  for (int64_t i = first_index(); i < a.space.count; i += index_step()) {
    const Offsets<2> o = offsets_of<2>(a.space, i);
    const bool to_real = is_real(a.to_element);
    if (is_real(a.from_element)) {
      const float x = load_real(a.from, a.from_element, o.at[0]);
      if (to_real)
        store_real(a.to, a.to_element, o.at[1], x);
      else
        store_word(a.to, 4, o.at[1], whole_number(x, a.to_element));
    } else {
      const uint32_t word = load_whole(a, o.at[0]);
      if (to_real)
        store_real(a.to, a.to_element, o.at[1], real_number(word, a.from_element));
      else
        store_word(a.to, 4, o.at[1], word);
    }
  }
}

LEV_KERNEL(copy, CopyArguments) {
  for (int64_t i = first_index(); i < a.space.count; i += index_step()) {
    const Offsets<2> o = offsets_of<2>(a.space, i);
    store_word(a.to, a.word_bytes, o.at[1], load_word(a.from, a.word_bytes, o.at[0]));
  }
}

LEV_KERNEL(iota, IotaArguments) {
  for (int64_t i = first_index(); i < a.count; i += index_step()) {
    if (is_real(a.element))
      store_real(a.to, a.element, i * a.stride, float(i));
    else
      store_word(a.to, 4, i * a.stride, uint32_t(i));
  }
}

LEV_KERNEL(literal, LiteralArguments) {
  for (int64_t i = first_index(); i < a.count; i += index_step())
    store_word(a.to, a.word_bytes, (a.first + i) * a.stride, a.words[i]);
}

LEV_KERNEL(add, AddArguments) {
  for (int64_t i = first_index(); i < a.count; i += index_step()) a.to[i] += a.from[i];
}

}  // namespace levanter::cuda::kernels

// The element types that values of a graph have.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace levanter {

/// bf16 is a format of storage: see base/bf16.h; so is i8, of what quantized_dot multiplies by.
enum class DType : uint8_t { f32, f64, i32, u32, bf16, i8 };

constexpr int64_t size_of(DType dtype) {
  if (dtype == DType::f64) return 8;
  if (dtype == DType::i8) return 1;
  return dtype == DType::bf16 ? 2 : 4;
}
constexpr bool is_float(DType dtype) {
  return dtype == DType::f32 || dtype == DType::f64 || dtype == DType::bf16;
}

/// What arithmetic on elements of `dtype` is done in and its sums are kept in: f32 for bf16.
constexpr DType widened(DType dtype) { return dtype == DType::bf16 ? DType::f32 : dtype; }

/// "f32", "f64", "i32", "u32", "bf16", "i8".
std::string_view name_of(DType dtype);
std::optional<DType> dtype_from_name(std::string_view name);

}  // namespace levanter

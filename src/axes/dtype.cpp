// The element types by their names.
#include "axes/dtype.h"

#include <array>

namespace levanter {

namespace {
constexpr std::array<std::string_view, 6> kNames = {"f32", "f64", "i32", "u32", "bf16", "i8"};
}

std::string_view name_of(DType dtype) { return kNames[static_cast<size_t>(dtype)]; }

std::optional<DType> dtype_from_name(std::string_view name) {
  for (size_t i = 0; i < kNames.size(); ++i)
    if (kNames[i] == name) return static_cast<DType>(i);
  return std::nullopt;
}

}  // namespace levanter

#include "axes/dtype.h"

#include <catch2/catch.hpp>

using namespace levanter;

TEST_CASE("element types have names, sizes and kinds", "[axes]") {
  for (const DType dtype : {DType::f32, DType::f64, DType::i32, DType::u32, DType::bf16}) {
    CHECK(dtype_from_name(name_of(dtype)) == dtype);
    int64_t bytes = 4;
    if (dtype == DType::f64) bytes = 8;
    if (dtype == DType::bf16) bytes = 2;
    CHECK(size_of(dtype) == bytes);
    CHECK(is_float(dtype) == (name_of(dtype).find('f') != std::string_view::npos));
  }
  CHECK(name_of(DType::u32) == "u32");
  CHECK_FALSE(dtype_from_name("f16"));
}

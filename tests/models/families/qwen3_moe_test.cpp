// Qwen3Moe beside Transformers.
#include <catch2/catch.hpp>

#include "support/hf_reference.h"

TEST_CASE("qwen3_moe computes what Transformers does", "[models]") {
  levanter::testing::check_hf_reference("qwen3_moe");
}

// SmolLM3 beside Transformers.
#include <catch2/catch.hpp>

#include "support/hf_reference.h"

TEST_CASE("smollm3 computes what Transformers does", "[models]") {
  levanter::testing::check_hf_reference("smollm3");
}

// Gemma beside Transformers.
#include <catch2/catch.hpp>

#include "support/hf_reference.h"

TEST_CASE("gemma computes what Transformers does", "[models]") {
  levanter::testing::check_hf_reference("gemma");
}

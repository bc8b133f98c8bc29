// Olmo2 beside Transformers.
#include <catch2/catch.hpp>

#include "support/hf_reference.h"

TEST_CASE("olmo2 computes what Transformers does", "[models]") {
  levanter::testing::check_hf_reference("olmo2");
}

// Mistral beside Transformers.
#include <catch2/catch.hpp>

#include "support/hf_reference.h"

TEST_CASE("mistral computes what Transformers does", "[models]") {
  levanter::testing::check_hf_reference("mistral");
}

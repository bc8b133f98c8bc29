#include "support/checks.h"

using namespace levanter;
using namespace levanter::testing;

TEST_CASE("all_gather gives one rank what it has", "[ops]") {
  const Build f = [](const auto& in) { return all_gather(in); };
  const std::vector<Array> held = {random_real({{"batch", 2}, {"embed", 3}}, 1),
                                   random_real({{"embed", 5}}, 2)};
  CHECK(same_bits(evaluate(f, held), held));
}

// A fused node computes what its body's nodes compute.
#include "ops/composite/fused.h"

#include "passes/passes.h"
#include "support/checks.h"

using namespace levanter;
using namespace levanter::testing;

TEST_CASE("a fused node decomposes into its body, bit for bit", "[ops]") {
  const auto cpu = make_backend("cpu"), reference = make_backend("reference");
  const std::vector<Array> inputs = {random_real({{"a", 3}, {"b", 5}}, 1),
                                     random_real({{"b", 5}}, 2)};
  const Function plain = trace(
      [](const auto& in) {
        return std::vector{tanh(in[0] + in[1]) * 0.5, in[0] * in[1]};
      },
      inputs, DType::f32);
  const Function fused = fuse(plain, *cpu);
  REQUIRE(count_nodes(fused, "fused") == 1);
  CHECK(count_nodes(fused, "map") == 1);
  CHECK(members_of(fused.graph.node(fused.results[0].value.node)) == "add+tanh+mul");
  const Function apart = decompose(duplicate(fused), *reference);
  CHECK(count_nodes(apart, "fused") == 0);
  CHECK(count_nodes(apart, "map") == 4);
  CHECK(same_bits(run(duplicate(apart), inputs, *reference),
                  run(duplicate(plain), inputs, *reference)));
}

// Buffers of equal modules are one line of the plan.
#include "runtime/plan_report.h"

#include <catch2/catch.hpp>

using namespace levanter;

TEST_CASE("numbers in a module path are replaced, in the source line not", "[runtime]") {
  CHECK(module_kind("transformer.h.11.mlp, src/models/gpt2.cpp:84") ==
        "transformer.h.*.mlp, src/models/gpt2.cpp:84");
  CHECK(module_kind("transformer.h.3") == "transformer.h.*");
  CHECK(module_kind("layers.0.experts.12.w1, a.cpp:1") == "layers.*.experts.*.w1, a.cpp:1");
  CHECK(module_kind("ln_2.h2o, a.cpp:1") == "ln_2.h2o, a.cpp:1");
  CHECK(module_kind("src/nn/layers.cpp:17") == "src/nn/layers.cpp:17");
  CHECK(module_kind("").empty());
}

TEST_CASE("buffers of one op in equal modules are counted together, the largest sum first",
          "[runtime]") {
  const std::vector<LiveBuffer> buffers = {
      {50, "dot", "h.0.attn, a.cpp:1", true},  {40, "gelu", "h.0.mlp, a.cpp:2", true},
      {40, "gelu", "h.1.mlp, a.cpp:2", true},  {30, "dot", "h.0.mlp, a.cpp:2", true},
      {20, "gelu", "h.1.mlp, a.cpp:3", false},
  };
  const auto groups = group_buffers(buffers);
  REQUIRE(groups.size() == 4);
  CHECK(groups[0].bytes == 80);
  CHECK(groups[0].count == 2);
  CHECK(groups[0].op == "gelu");
  CHECK(groups[0].where == "h.*.mlp, a.cpp:2");
  CHECK(groups[1].bytes == 50);
  CHECK(groups[3].bytes == 20);
}

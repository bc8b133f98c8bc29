// What people read of something that takes long.
#include "base/progress.h"

#include <catch2/catch.hpp>

using namespace levanter;

TEST_CASE("progress tells the rate since it was first told of the same work", "[base]") {
  static constexpr const char *kEvaluating = "evaluating", *kSaving = "saving";
  ProgressText text;
  CHECK(text.at(100, {kEvaluating, 500, 10000, "token"}) == "evaluating 5%");
  CHECK(text.at(102, {kEvaluating, 5500, 10000, "token"}) == "evaluating 55%, 2,500 tokens/s");
  CHECK(text.at(104, {kEvaluating, 10000, 10000, "token"}) == "evaluating 100%, 2,375 tokens/s");
  CHECK(text.at(200, {kEvaluating, 500, 10000, "token"}) == "evaluating 5%");  // another one
  CHECK(text.at(201, {kSaving, 0, 4096, "B"}) == "saving 0%");
  CHECK(text.at(203, {kSaving, 4096, 4096, "B"}) == "saving 100%, 2.00 KiB/s");
  CHECK(text.at(204, {"nothing", 0, 0, "B"}) == "nothing 100%");
}

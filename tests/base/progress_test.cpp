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

TEST_CASE("two pieces of the same work, far apart, share no rate", "[base]") {
  static constexpr const char* kSaving = "saving";
  ProgressText text;
  CHECK(text.at(100, {kSaving, 1024, 8192, "B", 1}) == "saving 12%");
  CHECK(text.at(101, {kSaving, 2048, 8192, "B", 1}) == "saving 25%, 1.00 KiB/s");
  // The next one is first heard of when more of it is done than was ever told of the first.
  CHECK(text.at(4000, {kSaving, 4096, 8192, "B", 2}) == "saving 50%");
  CHECK(text.at(4002, {kSaving, 8192, 8192, "B", 2}) == "saving 100%, 2.00 KiB/s");
}

TEST_CASE("a low rate has a digit behind the point, and none is shown as 0", "[base]") {
  const auto shown = [](double tokens) {
    static constexpr const char* kSampling = "sampling";
    ProgressText text;
    text.at(0, {kSampling, 0, 1000, "token"});
    return text.at(10, {kSampling, tokens, 1000, "token"});
  };
  CHECK(shown(4) == "sampling 0%, 0.4 tokens/s");
  CHECK(shown(94) == "sampling 9%, 9.4 tokens/s");
  CHECK(shown(99.9) == "sampling 9%, 10 tokens/s");
  CHECK(shown(120) == "sampling 12%, 12 tokens/s");
  CHECK(shown(0.4) == "sampling 0%");
}

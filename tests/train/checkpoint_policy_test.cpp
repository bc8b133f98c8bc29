// When to save.
#include "train/checkpoint_policy.h"

#include <catch2/catch.hpp>

#include "train/config/train_config.h"

using namespace levanter;

namespace {

constexpr int64_t kLast = 1000;

CheckpointerConfig saving(std::vector<KeepRule> keep, std::optional<double> interval) {
  CheckpointerConfig config;
  config.keep = std::move(keep);
  config.save_interval.reset();
  if (interval) config.save_interval = config::Duration{*interval};
  return config;
}

}  // namespace

TEST_CASE("step 0 never saves and the last step always does, for good", "[train]") {
  const CheckpointerConfig eager = saving({{.every = 1, .until = std::nullopt}}, 0);
  CHECK(decide_save(eager, 0, kLast, 1e9) == SaveKind::none);
  CHECK(decide_save(saving({}, std::nullopt), kLast, kLast, 0) == SaveKind::permanent);
  CHECK(decide_save(saving({}, 1), kLast, kLast, 1e9) == SaveKind::permanent);
  CHECK(decide_save(saving({}, std::nullopt), 0, 0, 0) == SaveKind::none);
}

TEST_CASE("steps are kept by the first rule that reaches them", "[train]") {
  const CheckpointerConfig rules =
      saving({{.every = 10, .until = 100}, {.every = 50, .until = 500}}, std::nullopt);
  CHECK(decide_save(rules, 10, kLast, 0) == SaveKind::permanent);
  CHECK(decide_save(rules, 15, kLast, 0) == SaveKind::none);
  CHECK(decide_save(rules, 100, kLast, 0) == SaveKind::permanent);
  CHECK(decide_save(rules, 110, kLast, 0) == SaveKind::none);
  CHECK(decide_save(rules, 150, kLast, 0) == SaveKind::permanent);
  CHECK(decide_save(rules, 500, kLast, 0) == SaveKind::permanent);
  CHECK(decide_save(rules, 550, kLast, 0) == SaveKind::none);
}

TEST_CASE("between kept steps time decides", "[train]") {
  const CheckpointerConfig timed = saving({{.every = 100, .until = std::nullopt}}, 60);
  CHECK(decide_save(timed, 5, kLast, 59.9) == SaveKind::none);
  CHECK(decide_save(timed, 5, kLast, 60) == SaveKind::temporary);
  CHECK(decide_save(timed, 100, kLast, 60) == SaveKind::permanent);
  CHECK(decide_save(saving({}, std::nullopt), 5, kLast, 1e9) == SaveKind::none);
}

// What all optimizers share.
#include "optim/assignment.h"

#include <catch2/catch.hpp>

#include "optim/adam_config.h"

using namespace levanter;

TEST_CASE("an optimizer that nobody wrote is a defect", "[optim]") {
  CHECK_THROWS_WITH(optim::entry("none"), Catch::Contains("there is no optimizer \"none\""));
}

TEST_CASE("an optimizer without scalars of its own needs no function for them", "[optim]") {
  optim::OptimizerEntry plain = optim::entry("adam");
  plain.scalar_names = {};
  plain.scalars = nullptr;
  const AdamConfig config;
  std::vector<double> none;
  CHECK_NOTHROW(optim::Assignment(plain, config).fill_scalars(3, none));
}

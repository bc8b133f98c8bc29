// Which device each rank takes.
#include "train/ranks/devices.h"

#include <catch2/catch.hpp>

#include "support/fault.h"

using namespace levanter;
using namespace levanter::testing;
using train::assign_devices;

namespace {

using Devices = std::vector<std::string>;
using Places = std::vector<dist::Place>;

const Places kTwoHosts = {{"a", "0"}, {"a", "0"}, {"b", "0"}, {"b", "0"}};

}  // namespace

TEST_CASE("ranks that see the same devices take one after the other, on each machine", "[train]") {
  const Devices two = {"x", "y"};
  CHECK(assign_devices(kTwoHosts, std::vector{two, two, two, two}) ==
        std::vector<size_t>{0, 1, 0, 1});
  const Places mixed = {{"a", ""}, {"b", ""}, {"a", ""}};
  CHECK(assign_devices(mixed, std::vector{two, two, two}) == std::vector<size_t>{0, 0, 1});
}

TEST_CASE("ranks that are shown a device each take that", "[train]") {
  CHECK(assign_devices(kTwoHosts, std::vector<Devices>{{"x"}, {"y"}, {"x"}, {"y"}}) ==
        std::vector<size_t>{0, 0, 0, 0});
  CHECK(assign_devices(Places{{"a", ""}, {"a", ""}}, std::vector<Devices>{{"x"}, {"x", "y"}}) ==
        std::vector<size_t>{0, 1});
}

TEST_CASE("ranks that have nothing to choose from take what there is", "[train]") {
  CHECK(assign_devices(kTwoHosts, std::vector<Devices>(4)) == std::vector<size_t>(4));
}

TEST_CASE("a rank without a device is an error that names machines and counts", "[train]") {
  const Devices one = {"x"}, two = {"x", "y"};
  const std::string error = failure_of(ErrorKind::kDevice, [&] {
    assign_devices(kTwoHosts, std::vector{two, two, one, one});
  });
  CHECK_THAT(error, Catch::Contains("a has 2 ranks and 2 devices, b has 2 ranks and 1 device") &&
                        Catch::Contains("CUDA_VISIBLE_DEVICES") && Catch::Contains("allowed") &&
                        Catch::Contains("hint"));
}

// The machine's own rate of products, measured by its first runs.
#include "train/engine/peak.h"

#include <catch2/catch.hpp>

#include <cstdlib>

#include "base/error.h"
#include "base/files.h"
#include "base/strings.h"
#include "support/evaluate.h"
#include "support/forwarding_backend.h"
#include "support/temporary_folder.h"

using namespace levanter;
using levanter::testing::TemporaryFolder;

namespace {

/// Sets a variable of the environment for as long as it lives.
class Variable {
 public:
  Variable(const char* name, const std::string& value) : name_(name) {
    if (const char* old = std::getenv(name)) {
      old_ = old;
      was_set_ = true;
    }
    ::setenv(name, value.c_str(), 1);
  }
  ~Variable() { was_set_ ? ::setenv(name_, old_.c_str(), 1) : ::unsetenv(name_); }

 private:
  const char* name_;
  std::string old_;
  bool was_set_ = false;
};

/// Rates that differ by more than noise: a stored figure is returned as it stands.
constexpr double kStoredRate = 123456;

}  // namespace

TEST_CASE("the peak is kept in the user's cache, by device and threads", "[train]") {
  const TemporaryFolder folder;
  const Variable cache("XDG_CACHE_HOME", folder / "cache");
  CHECK(train::peak_file() == folder / "cache/levanter/peak.json");
  const auto backend = testing::make_backend("cpu", 1);
  const double measured = train::machine_peak(*backend);
  CHECK(measured > 0);
  CHECK(measured < kStoredRate);
  const std::string kept = read_file(train::peak_file());
  CHECK_THAT(kept, Catch::Contains(backend->device_name()));
  CHECK_THAT(kept, Catch::Contains(backend->numerics_signature()));
  CHECK_THAT(kept, Catch::Contains("1 threads"));

  // A machine that was busy is measured again, and the best of three measurements stays.
  CHECK(train::machine_peak(*backend) >= measured);
  const double best = train::machine_peak(*backend);
  const std::string settled = read_file(train::peak_file());
  CHECK(settled != kept);
  CHECK(train::machine_peak(*backend) == best);
  CHECK(train::known_peak(*backend) == best);
  CHECK(read_file(train::peak_file()) == settled);

  // What the file says counts, for this device and this number of threads.
  const size_t number = kept.rfind(": ") + 2;
  for (const char* rates : {"123456.0", "[1.0, 123456.0, \"x\", -1]"}) {
    write_file_atomic(train::peak_file(), cat(kept.substr(0, number), rates, "\n}\n"));
    CHECK(train::machine_peak(*backend) == kStoredRate);
  }
  write_file_atomic(train::peak_file(), "{ torn");
  CHECK(train::machine_peak(*backend) < kStoredRate);
  CHECK(read_file(train::peak_file()).find("torn") == std::string::npos);
}

TEST_CASE("a run that has no memory to measure the peak does without it", "[train]") {
  class Full final : public testing::ForwardingBackend {
   public:
    std::unique_ptr<Buffer> allocate(int64_t) const override {
      throw Error(ErrorKind::kDevice, "there is no memory");
    }
  };
  const TemporaryFolder folder;
  const Variable cache("XDG_CACHE_HOME", folder / "cache");
  CHECK(train::machine_peak(Full()) == 0);
  CHECK_FALSE(train::known_peak(Full()));
}

TEST_CASE("without XDG_CACHE_HOME the cache is below the home, without a home nowhere", "[train]") {
  const Variable cache("XDG_CACHE_HOME", "");
  {
    const Variable home("HOME", "/home/someone");
    CHECK(train::peak_file() == "/home/someone/.cache/levanter/peak.json");
  }
  const Variable home("HOME", "");
  CHECK(train::peak_file().empty());
}

TEST_CASE("products are measured at two sizes", "[.slow][train]") {
  const auto backend = testing::make_backend("cpu", 2);
  const auto rates =
      train::measure_products(*backend, DType::f32, train::standard_products(*backend), 0.1);
  REQUIRE(rates.size() == 2);
  CHECK(rates[0].size.m == 1024);
  CHECK(rates[1].size.n == 2048);
  for (const train::ProductRate& rate : rates) CHECK(rate.gflops_per_second > 0);
  CHECK(train::best_rate(rates) >= rates[0].gflops_per_second);
}

TEST_CASE("products of bf16 factors are measured beside those of f32", "[train]") {
  const auto backend = testing::make_backend("cpu", 1);
  const train::ProductSize sizes[] = {{64, 48, 32}};
  for (const DType dtype : {DType::f32, DType::bf16})
    CHECK(train::best_rate(train::measure_products(*backend, dtype, sizes, 0)) > 0);
  CHECK(train::best_rate({}) == 0);
}

TEST_CASE("a model's products are its linear layers and its head, each size once", "[train]") {
  const Type table{DType::f32, {{"vocab", 100}, {"embed", 8}}};
  const Type weight{DType::f32, {{"embed", 8}, {"mlp", 32}}};
  const Type place{DType::f32, {{"max_position", 16}, {"embed", 8}}};
  const std::vector<nn::Param> params = {
      {"wte", table, {100, 8}, {}, nn::Role::kEmbedding, {}},
      {"wpe", place, {16, 8}, {}, nn::Role::kEmbedding, {}},
      {"h.0.up", weight, {8, 32}, {}, nn::Role::kWeight, {}},
      {"h.0.bias", {DType::f32, {{"mlp", 32}}}, {32}, {}, nn::Role::kBias, {}},
      {"h.1.up", weight, {8, 32}, {}, nn::Role::kWeight, {}}};
  const auto sizes = train::model_products(params, 40);
  REQUIRE(sizes.size() == 2);
  CHECK((sizes[0].m == 40 && sizes[0].n == 100 && sizes[0].k == 8));
  CHECK((sizes[1].m == 40 && sizes[1].n == 32 && sizes[1].k == 8));
  const auto most = train::model_products(params, int64_t{1} << 40);
  CHECK(most[0].flops() <= train::kMostFlops);
  CHECK(most[0].m == static_cast<int64_t>(train::kMostFlops / 1600));
}

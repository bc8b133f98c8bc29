// The machine's own rate of products, measured once.
#include "train/peak.h"

#include <catch2/catch.hpp>

#include <cstdlib>

#include "base/files.h"
#include "support/evaluate.h"
#include "support/temporary_folder.h"

using namespace levanter;
using levanter::testing::TemporaryFolder;

namespace {

/// Sets a variable of the environment for as long as it lives.
class Variable {
 public:
  Variable(const char* name, const std::string& value) : name_(name) {
    if (const char* old = std::getenv(name)) old_ = old, was_set_ = true;
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
  CHECK_THAT(kept, Catch::Contains(backend->numerics_signature()));
  CHECK_THAT(kept, Catch::Contains("1 threads"));
  CHECK(train::machine_peak(*backend) == measured);

  // What the file says counts, for this device and this number of threads.
  const size_t number = kept.rfind(": ") + 2;
  write_file_atomic(train::peak_file(), kept.substr(0, number) + "123456.0\n}\n");
  CHECK(train::machine_peak(*backend) == kStoredRate);
  write_file_atomic(train::peak_file(), "{ torn");
  CHECK(train::machine_peak(*backend) < kStoredRate);
  CHECK(read_file(train::peak_file()).find("torn") == std::string::npos);
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
  const auto rates = train::measure_products(*backend, 0.1);
  REQUIRE(rates.size() == 2);
  CHECK(rates[0].m == 1024);
  CHECK(rates[1].n == 2048);
  for (const train::ProductRate& rate : rates) CHECK(rate.gflops_per_second > 0);
}

// Threefry bits, keys, uniforms and normals against JAX's, and the fills against single elements.
#include "base/random.h"

#include <catch2/catch.hpp>

#include <bit>
#include <cmath>
#include <cstdlib>
#include <fstream>
#include <set>
#include <sstream>
#include <string>

#include "base/strings.h"
#include "support/source_root.h"

using namespace levanter;

namespace {

constexpr int64_t kNormalUlps = 4;

struct Case {
  std::string name;
  std::vector<uint32_t> arguments, words;
};

std::vector<Case> fixture() {
  std::ifstream file(cat(testing::source_root(), "/tests/golden/jax_random.txt"));
  REQUIRE(file);
  std::vector<Case> cases;
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with('#')) continue;
    std::istringstream words(line);
    Case c;
    words >> c.name;
    std::vector<uint32_t>* into = &c.arguments;
    for (std::string word; words >> word;) {
      if (word == ":")
        into = &c.words;
      else
        into->push_back(static_cast<uint32_t>(std::stoul(word, nullptr, 16)));
    }
    cases.push_back(c);
  }
  return cases;
}

/// How many floats lie between `a` and `b`.
int64_t ulps(float a, float b) {
  const auto ordinal = [](float x) {
    const int32_t bits = std::bit_cast<int32_t>(x);
    return bits < 0 ? -int64_t{bits & 0x7FFFFFFF} : int64_t{bits};
  };
  return std::abs(ordinal(a) - ordinal(b));
}

/// jax.random.split by its definition.
std::vector<Key> split_keys(Key key, uint32_t count) {
  std::vector<Key> keys;
  for (uint32_t i = 0; i < count; ++i) {
    const std::array<uint32_t, 2> words = threefry2x32(key, 0, i);
    keys.push_back({words[0], words[1]});
  }
  return keys;
}

bool equals(const std::vector<Key>& keys, const std::vector<uint32_t>& words) {
  std::vector<uint32_t> ours;
  for (const Key& key : keys) ours.insert(ours.end(), {key.hi, key.lo});
  return ours == words;
}

}  // namespace

TEST_CASE("keys, bits and uniforms equal JAX's to the bit, normals within 4 ulp", "[base]") {
  std::set<std::string> seen;
  for (const Case& c : fixture()) {
    INFO(c.name << " " << c.arguments[0] << " " << c.arguments[1]);
    seen.insert(c.name);
    const std::vector<uint32_t>& a = c.arguments;
    const Key key{a[0], a[1]};
    if (c.name == "seed") CHECK(equals({key_from_seed(uint64_t{a[0]} << 32 | a[1])}, c.words));
    if (c.name == "split") CHECK(equals(split_keys(key, a[2]), c.words));
    if (c.name == "fold_in") CHECK(equals({fold_in(key, a[2])}, c.words));
    if (c.name == "threefry") {
      const auto words = threefry2x32(key, a[2], a[3]);
      CHECK(std::vector<uint32_t>(words.begin(), words.end()) == c.words);
    }
    for (size_t i = 0; i < c.words.size(); ++i) {
      if (c.name == "bits") CHECK(random_bits(key, a[2] + i) == c.words[i]);
      if (c.name == "uniform") {
        const float x = uniform(key, i, std::bit_cast<float>(a[2]), std::bit_cast<float>(a[3]));
        CHECK(std::bit_cast<uint32_t>(x) == c.words[i]);
      }
      if (c.name == "normal")
        CHECK(ulps(normal(key, a[2] + i), std::bit_cast<float>(c.words[i])) <= kNormalUlps);
    }
  }
  CHECK(seen ==
        std::set<std::string>{"seed", "split", "fold_in", "threefry", "bits", "uniform", "normal"});
}

TEST_CASE("a filled range holds what each index gives, whatever the range", "[base]") {
  const Key key = key_from_seed(11);
  for (const uint64_t first : {uint64_t{0}, uint64_t{13}, (uint64_t{1} << 32) - 7}) {
    for (const size_t count : {size_t{0}, size_t{1}, size_t{17}, size_t{67}}) {
      std::vector<float> normals(count);
      fill_normal(key, first, normals);
      for (size_t i = 0; i < count; ++i) CHECK(normals[i] == normal(key, first + i));
    }
  }
}

TEST_CASE("every pattern of bits gives a finite uniform below one and a finite normal", "[base]") {
  for (const uint32_t bits : {0u, 1u << 9, 0x7FFFFFFFu, 0x80000000u, 0xFFFFFFFFu}) {
    CHECK(uniform_from_bits(bits) >= 0.0f);
    CHECK(uniform_from_bits(bits) < 1.0f);
    CHECK(std::isfinite(normal_from_bits(bits)));
  }
  CHECK(uniform_from_bits(0) == 0.0f);
  CHECK(normal_from_bits(0) < -5.0f);
  CHECK(normal_from_bits(0xFFFFFFFFu) > 5.0f);
}

TEST_CASE("normals have mean 0, variance 1 and kurtosis 3", "[base]") {
  constexpr double kStandardErrors = 5;
  std::vector<float> x(1 << 18);
  fill_normal(key_from_seed(5), 0, x);
  double sum = 0, squares = 0, fourths = 0;
  for (const double v : x) {
    sum += v;
    squares += v * v;
    fourths += v * v * v * v;
  }
  const auto n = static_cast<double>(x.size());
  CHECK(std::abs(sum / n) < kStandardErrors / std::sqrt(n));
  CHECK(std::abs(squares / n - 1) < kStandardErrors * std::sqrt(2 / n));
  CHECK(std::abs(fourths / n - 3) < kStandardErrors * std::sqrt(96 / n));
}

TEST_CASE("different paths under a key give different keys, equal paths the same", "[base]") {
  const Key key = key_from_seed(0);
  CHECK(fold_in(key, "h.0.attn") == fold_in(key, std::string("h.0.attn")));
  std::set<std::pair<uint32_t, uint32_t>> keys;
  for (int i = 0; i < 1000; ++i) {
    const Key child = fold_in(key, cat("h.", i, ".attn"));
    keys.insert({child.hi, child.lo});
  }
  CHECK(keys.size() == 1000);
}

TEST_CASE("random_below stays below its bound and reaches every value of a small one", "[base]") {
  const Key key = key_from_seed(9);
  std::vector<int> counts(7);
  for (uint64_t i = 0; i < 7000; ++i) ++counts.at(random_below(key, i, 7));
  for (const int count : counts) CHECK(std::abs(count - 1000) < 200);
  for (uint64_t i = 0; i < 100; ++i) CHECK(random_below(key, i, 1) == 0);
  const uint64_t huge = uint64_t{1} << 63;
  uint64_t largest = 0;
  for (uint64_t i = 0; i < 100; ++i) largest = std::max(largest, random_below(key, i, huge));
  CHECK(largest < huge);
  CHECK(largest > huge / 2);
}

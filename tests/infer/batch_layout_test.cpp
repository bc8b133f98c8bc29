// The arrays of a microbatch: only what functions ask for has a place, and rows fill it.
#include "infer/batch_layout.h"

#include <catch2/catch.hpp>

#include <cstring>

#include "passes/passes.h"
#include "support/evaluate.h"

using namespace levanter;
using namespace levanter::infer;

namespace {

constexpr int64_t kRows = 2, kLength = 5;

/// A function of the microbatch's arrays of these names: the sum of each over its last axis.
Executable reader(const Backend& backend, std::initializer_list<std::string_view> names) {
  Function f("reader");
  models::BatchInputs inputs(f, {"batch", kRows}, {"position", kLength});
  for (const std::string_view name : names) {
    const NamedArray array = cast(inputs(name), DType::f32);
    f.result(std::string(name), sum(array, {array.axes()[1]}));
  }
  return compile(optimise(f, backend), backend);
}

/// Four rows whose arrays are all different.
data::Example four_rows() {
  data::Example rows(4 * kLength);
  for (size_t i = 0; i < rows.tokens.size(); ++i) {
    rows.tokens[i] = static_cast<int32_t>(i);
    rows.loss_weight[i] = static_cast<float>(i) / 2;
    rows.segment_ids[i] = static_cast<int32_t>(100 + i);
  }
  return rows;
}

template <class T>
std::vector<T> values(const std::byte* at, size_t count) {
  std::vector<T> out(count);
  std::memcpy(out.data(), at, count * sizeof(T));
  return out;
}

}  // namespace

TEST_CASE("only arrays that some function reads have a place", "[infer]") {
  const auto backend = testing::make_backend("reference");
  const Executable one = reader(*backend, {"segment_ids", "tokens"});
  const Executable other = reader(*backend, {"tokens", "loss_weight"});
  const auto names = [](const BatchLayout& layout) {
    std::byte memory{};
    Addresses addresses;
    layout.add_places(&memory, addresses);
    std::vector<std::string> out;
    for (const auto& [name, place] : addresses) {
      CHECK((place - &memory) % 64 == 0);
      out.push_back(name);
    }
    return out;
  };
  const BatchLayout both({&one, nullptr, &other});
  CHECK(names(both) == std::vector<std::string>{"loss_weight", "segment_ids", "tokens"});
  CHECK(both.bytes() == 3 * 64);
  CHECK(names(BatchLayout({&one})) == std::vector<std::string>{"segment_ids", "tokens"});
  CHECK(BatchLayout().bytes() == 0);
}

TEST_CASE("rows are taken from where they begin, each with its example's key", "[infer]") {
  const auto backend = testing::make_backend("reference");
  const Executable e =
      reader(*backend, {"tokens", "loss_weight", "segment_ids", models::kDropoutKeys});
  const BatchLayout layout({&e});
  std::vector<std::byte> image(static_cast<size_t>(layout.bytes()));
  const data::Example rows = four_rows();
  const Key key = key_from_seed(3);
  const int64_t first_example = (int64_t{1} << 32) + 6;
  layout.load({rows, 1, first_example}, key, image.data());

  Addresses at;
  layout.add_places(image.data(), at);
  constexpr auto kCount = static_cast<size_t>(kRows * kLength);
  for (size_t i = 0; i < kCount; ++i) {
    const size_t from = kLength + i;
    CHECK(values<int32_t>(at["tokens"], kCount)[i] == rows.tokens[from]);
    CHECK(values<float>(at["loss_weight"], kCount)[i] == rows.loss_weight[from]);
    CHECK(values<int32_t>(at["segment_ids"], kCount)[i] == rows.segment_ids[from]);
  }
  const auto keys = values<uint32_t>(at["dropout_keys"], 2 * kRows);
  for (uint32_t row = 0; row < kRows; ++row) {
    const Key want = fold_in(fold_in(key, 1), 6 + row);
    CHECK(keys[2 * row] == want.hi);
    CHECK(keys[2 * row + 1] == want.lo);
  }
  CHECK_THROWS(layout.load({rows, 3, 0}, key, image.data()));
}

TEST_CASE("an array is one argument however often it is asked for, and must be known", "[infer]") {
  Function f("asks");
  models::BatchInputs inputs(f, {"batch", kRows}, {"position", kLength});
  CHECK(inputs("targets").value() == inputs("targets").value());
  CHECK(inputs("loss_weight").type() ==
        Type{DType::f32, {{"batch", kRows}, {"position", kLength}}});
  CHECK(inputs(models::kInverseTokens).type() == Type{DType::f32, {}});
  CHECK(f.arguments.size() == 3);
  CHECK_THROWS_WITH(inputs("pairs"), Catch::Contains("there is no array \"pairs\""));
}

#include "base/random.h"
#include "support/checks.h"

using namespace levanter;
using namespace levanter::testing;

namespace {

Build over(const Axes& axes) {
  return [axes](const auto& in) { return std::vector{random_bits(in[0], axes)}; };
}

uint32_t expected(const Array& keys, size_t row, size_t index) {
  return random_bits(Key{static_cast<uint32_t>(keys.values[2 * row]),
                         static_cast<uint32_t>(keys.values[2 * row + 1])},
                     index);
}

}  // namespace

TEST_CASE("random_bits are the host's, one key a row, the counter inside the row", "[ops]") {
  const Array keys = random_keys({{"batch", 3}}, 1);
  const Array bits = evaluate(over({{"batch", 3}, {"position", 2}, {"embed", 5}}), {keys})[0];
  CHECK(bits.type.dtype == DType::u32);
  for (size_t i = 0; i < bits.values.size(); ++i)
    CHECK(bits.values[i] == expected(keys, i / 10, i % 10));
}

TEST_CASE("random_bits of a single key count over all axes", "[ops]") {
  const Array key = random_keys({}, 1);
  const Array bits = evaluate(over({{"embed", 7}}), {key})[0];
  for (size_t i = 0; i < 7; ++i) CHECK(bits.values[i] == expected(key, 0, i));
}

TEST_CASE("random_bits of one element a key", "[ops]") {
  const Array keys = random_keys({{"batch", 2}, {"head", 2}}, 1);
  const Array bits = evaluate(over({{"batch", 2}, {"head", 2}}), {keys})[0];
  for (size_t i = 0; i < 4; ++i) CHECK(bits.values[i] == expected(keys, i, 0));
}

TEST_CASE("random_bits read keys through strides", "[ops]") {
  const Array keys = random_keys({{"batch", 2}, {"head", 3}}, 1);
  const Build turned = [](const auto& in) {
    const Axes order = {{"head", 3}, {"batch", 2}, key_word()};
    return std::vector{random_bits(transpose(in[0], order), {{"head", 3}, {"batch", 2}})};
  };
  const Array bits = evaluate(turned, {keys})[0];
  for (size_t h = 0; h < 3; ++h)
    for (size_t b = 0; b < 2; ++b) CHECK(bits.values[h * 2 + b] == expected(keys, b * 3 + h, 0));
}

TEST_CASE("random_bits read the words of a key where they lie", "[ops]") {
  const Array apart{{DType::u32, {key_word(), {"batch", 2}}}, {1, 2, 3, 4}};
  const Array keys{{DType::u32, {{"batch", 2}, key_word()}}, {1, 3, 2, 4}};
  const Axes axes = {{"batch", 2}, {"embed", 3}};
  const Build turned = [&](const auto& in) {
    return std::vector{random_bits(transpose(in[0], {{"batch", 2}, key_word()}), axes)};
  };
  CHECK(same_bits(evaluate(turned, {apart}), evaluate(over(axes), {keys})));
}

TEST_CASE("random_bits refuse what is not keys, and axes that do not begin with theirs", "[ops]") {
  CHECK_THAT(trace_error(over({{"batch", 2}}), {random_real({{"batch", 2}, key_word()}, 1)}),
             Catch::Contains("random_bits: keys are u32 with key_word 2 as the last axis"));
  const Array keys = random_keys({{"batch", 2}}, 1);
  for (const Axes& axes : std::vector<Axes>{{}, {{"embed", 3}, {"batch", 2}}, {{"batch", 3}}})
    CHECK_THAT(trace_error(over(axes), {keys}),
               Catch::Contains("does not begin with the keys' axes"));
}

#include "base/random.h"
#include "support/checks.h"

using namespace levanter;
using namespace levanter::testing;

namespace {
Build with(uint32_t data) {
  return [data](const auto& in) { return std::vector{fold_in(in[0], data)}; };
}
}  // namespace

TEST_CASE("fold_in folds every key as the keys of the host are folded", "[ops]") {
  for (const Axes& rows : std::vector<Axes>{{}, {{"batch", 5}}, {{"batch", 2}, {"head", 3}}}) {
    const Array keys = random_keys(rows, 1);
    for (const uint32_t data : {0u, 7u, 0xffffffffu}) {
      const Array folded = evaluate(with(data), {keys})[0];
      CHECK(folded.type == keys.type);
      for (size_t i = 0; i < keys.values.size(); i += 2) {
        const Key key = fold_in(
            Key{static_cast<uint32_t>(keys.values[i]), static_cast<uint32_t>(keys.values[i + 1])},
            data);
        CHECK(folded.values[i] == key.hi);
        CHECK(folded.values[i + 1] == key.lo);
      }
    }
  }
}

TEST_CASE("fold_in reads keys through strides", "[ops]") {
  const Array keys = random_keys({{"batch", 2}, {"head", 3}}, 1);
  const Axes order = {{"head", 3}, {"batch", 2}, key_word()};
  const Build before = [&](const auto& in) {
    return std::vector{fold_in(transpose(in[0], order), 3)};
  };
  const Build after = [&](const auto& in) {
    return std::vector{transpose(fold_in(in[0], 3), order)};
  };
  CHECK(same_bits(evaluate(before, {keys}), evaluate(after, {keys})));
}

TEST_CASE("fold_in reads the words of a key where they lie", "[ops]") {
  const Array apart{{DType::u32, {key_word(), {"batch", 2}}}, {1, 2, 3, 4}};
  const Array keys{{DType::u32, {{"batch", 2}, key_word()}}, {1, 3, 2, 4}};
  const Build turned = [](const auto& in) {
    return std::vector{fold_in(transpose(in[0], {{"batch", 2}, key_word()}), 3)};
  };
  CHECK(same_bits(evaluate(turned, {apart}), evaluate(with(3), {keys})));
}

TEST_CASE("fold_in refuses what is not keys", "[ops]") {
  CHECK_THAT(trace_error(with(1), {random_real({{"batch", 2}, key_word()}, 1)}),
             Catch::Contains("keys are u32 with key_word 2 as the last axis"));
  const Array transposed{{DType::u32, {key_word(), {"batch", 1}}}, {1, 2}};
  CHECK_THAT(trace_error(with(1), {transposed}), Catch::Contains("fold_in: keys are u32"));
}

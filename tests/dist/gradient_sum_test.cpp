// Sums over ranks against the tree added up on one.
#include "dist/gradient_sum.h"

#include <catch2/catch.hpp>

#include <cmath>
#include <cstring>

#include "base/random.h"
#include "support/counting_backend.h"
#include "support/lone_end.h"

using namespace levanter;
using namespace levanter::dist;

namespace {

using Values = std::vector<float>;

/// A group's gradient: values of very different sizes, so that every order of adding shows.
Values gradient(int64_t group, int64_t elements) {
  Values values(static_cast<size_t>(elements));
  fill_normal(fold_in(key_from_seed(3), static_cast<uint32_t>(group)), 0, values);
  for (size_t i = 0; i < values.size(); i += 3) values[i] *= 1e4f;
  return values;
}

Values tree_sum(int64_t begin, int64_t n, int64_t elements) {
  if (n == 1) return gradient(begin, elements);
  const int64_t p = tree_split(n);
  Values left = tree_sum(begin, p, elements);
  const Values right = tree_sum(begin + p, n - p, elements);
  for (size_t i = 0; i < left.size(); ++i) left[i] += right[i];
  return left;
}

/// What each rank ends with after `rounds` sums with one object.
std::vector<Values> sum_on_ranks(const std::vector<Shard>& shards, int64_t groups, int rounds) {
  const int64_t ranks = std::ssize(shards), elements = shards.back().end;
  std::vector<Values> totals(static_cast<size_t>(ranks),
                             Values(static_cast<size_t>(elements), NAN));
  const auto backend = testing::make_backend("reference");
  run_ranks(entry(ranks == 1 ? "single" : "threads"), ranks, [&](Communicator& end) {
    Values& total = totals[static_cast<size_t>(end.rank())];
    ArrayExchange exchange(end, *backend);
    GradientSum sum(exchange, groups, shards);
    for (int round = 0; round < rounds; ++round) {
      std::vector<Values> partials;
      for (const GroupRange& subtree :
           maximal_subtrees(groups, groups_of_rank(groups, ranks, end.rank())))
        partials.push_back(tree_sum(subtree.begin, subtree.size(), elements));
      std::vector<float*> pointers;
      for (Values& partial : partials) pointers.push_back(partial.data());
      if (round % 2 == 0) {
        sum.reduce(pointers, total.data());
        sum.gather(total.data());
      } else {  // over one of the partial sums, as the engine does
        sum.reduce(pointers, pointers[0]);
        sum.gather(pointers[0]);
        total = partials[0];
      }
    }
  });
  return totals;
}

}  // namespace

TEST_CASE("all ranks end with the bits of the tree on one rank", "[dist]") {
  for (const int64_t groups : {1, 2, 3, 5, 6, 8})
    for (int64_t ranks = 1; ranks <= groups; ++ranks)
      for (const int64_t elements : {1, 2, 16, 1009}) {
        INFO(groups << " groups, " << ranks << " ranks, " << elements << " elements");
        const Values expected = tree_sum(0, groups, elements);
        std::vector<Shard> first_has_most = {{0, elements}};
        first_has_most.resize(static_cast<size_t>(ranks), {elements, elements});
        for (const auto& shards : {equal_shards(elements, ranks), first_has_most})
          for (const Values& total : sum_on_ranks(shards, groups, 2))
            REQUIRE(std::memcmp(total.data(), expected.data(), expected.size() * 4) == 0);
      }
}

TEST_CASE("another order of adding would have been seen", "[dist]") {
  const int64_t groups = 6, elements = 1009;
  Values in_order = gradient(0, elements);
  for (int64_t group = 1; group < groups; ++group) {
    const Values next = gradient(group, elements);
    for (size_t i = 0; i < in_order.size(); ++i) in_order[i] += next[i];
  }
  CHECK(in_order != tree_sum(0, groups, elements));
}

TEST_CASE("a rank's staging is what staging_bytes says", "[dist]") {
  for (const int64_t ranks : {1, 2, 3, 5}) {
    for (int64_t rank = 0; rank < ranks; ++rank) {
      testing::LoneEnd end(rank, ranks);
      const testing::CountingBackend backend(testing::make_backend("reference"));
      ArrayExchange exchange(end, backend);
      const GradientSum sum(exchange, 6, equal_shards(1009, ranks));
      CHECK(backend.bytes() == GradientSum::staging_bytes(6, equal_shards(1009, ranks), rank));
      CHECK((backend.bytes() > 0) == (ranks > 1));
    }
  }
}

// Parameters of which each rank has some, on all of them.
#include "dist/parameter_gather.h"

#include <catch2/catch.hpp>

#include <atomic>

using namespace levanter;
using namespace levanter::dist;

namespace {

/// Arrays of different sizes, three of rank 0, one of the last rank and none of the others.
Owners owners_of(int64_t ranks) { return {{"a", 0}, {"b", 0}, {"c", ranks - 1}, {"d", 0}}; }
const Gather kGather{{"a", "b", "c", "d"}, {3, 70'000, 5, 1}};

}  // namespace

TEST_CASE("every rank gets every array from its owner", "[dist]") {
  for (const int64_t ranks : {1, 2, 3}) {
    std::atomic<int> wrong = 0;
    run_ranks(entry("threads"), ranks, [&](Communicator& end) {
      const Owners owners = owners_of(ranks);
      ParameterGather source(end, owners);
      std::vector<std::vector<std::byte>> held, whole;
      std::vector<const void*> from;
      std::vector<void*> to;
      for (size_t i = 0; i < kGather.names.size(); ++i) {
        const bool mine = owners.at(kGather.names[i]) == end.rank();
        held.emplace_back(mine ? kGather.bytes[i] : 0, static_cast<std::byte>(i + 1));
        whole.emplace_back(kGather.bytes[i]);
        from.push_back(mine ? held.back().data() : nullptr);
        to.push_back(whole.back().data());
      }
      for (int round = 0; round < 2; ++round) {  // the second begins while the first goes on
        source.start(kGather, from.data(), to.data());
        source.start(kGather, from.data(), to.data());
        source.finish();
        source.finish();
      }
      for (size_t i = 0; i < whole.size(); ++i)
        for (const std::byte b : whole[i]) wrong += b == static_cast<std::byte>(i + 1) ? 0 : 1;
    });
    CHECK(wrong == 0);
  }
}

TEST_CASE("a gather of ranks of which one has left ends with that one's error", "[dist]") {
  std::atomic<int> told = 0;
  CHECK_THROWS_AS(run_ranks(entry("threads"), 2,
                            [&](Communicator& end) {
                              if (end.rank() == 1) throw Error(ErrorKind::kData, "a bad text");
                              ParameterGather source(end, owners_of(2));
                              std::vector<std::byte> room(70'000), there(70'000);
                              std::vector<const void*> from(4, room.data());
                              std::vector<void*> to(4, there.data());
                              source.start(kGather, from.data(), to.data());
                              try {
                                source.finish();
                              } catch (const Abandoned& abandoned) {
                                told += abandoned.kind() == ErrorKind::kData ? 1 : 0;
                                throw;
                              }
                            }),
                  Error);
  CHECK(told == 1);
}

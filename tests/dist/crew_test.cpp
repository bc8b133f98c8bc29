// What ranks do together between the steps.
#include "dist/crew.h"

#include <catch2/catch.hpp>

#include <mutex>
#include <vector>

#include "base/error.h"
#include "base/strings.h"

using namespace levanter;
using dist::Communicator;
using dist::Crew;

TEST_CASE("the first rank calls, the others serve in the order of its calls", "[dist]") {
  for (const int64_t ranks : {1, 2, 3}) {
    std::mutex mutex;
    std::vector<std::vector<std::string>> heard(static_cast<size_t>(ranks));
    dist::run_ranks(dist::entry(ranks == 1 ? "single" : "threads"), ranks, [&](Communicator& end) {
      Crew crew(end);
      const auto keep = [&](std::string name) {
        crew.serve(name, [&heard, &end, name](const std::string& text) {
          heard[static_cast<size_t>(end.rank())].push_back(cat(name, ":", text));
        });
      };
      keep("save");
      keep("look");
      for (int round = 0; round < 2; ++round) {
        if (end.rank() > 0) {
          crew.follow();
          continue;
        }
        crew.call("look");
        crew.call("save", "one\ntwo");
        crew.release();
      }
    });
    for (size_t r = 1; r < heard.size(); ++r)
      CHECK(heard[r] ==
            std::vector<std::string>{"look:", "save:one\ntwo", "look:", "save:one\ntwo"});
    CHECK(heard[0].empty());
  }
}

TEST_CASE("what goes wrong in a service ends all ranks", "[dist]") {
  const auto run = [] {
    dist::run_ranks(dist::entry("threads"), 2, [](Communicator& end) {
      Crew crew(end);
      crew.serve("save", [](const std::string&) -> void {
        throw Error(ErrorKind::kIo, "the disk is full");
      });
      if (end.rank() > 0) return crew.follow();
      crew.call("save");
      crew.release();
      dist::barrier(end);
    });
  };
  CHECK_THROWS_WITH(run(), "error: the disk is full");
}

// The communicator of one rank: what it sends, it receives.
#include <cstring>

#include "base/error.h"
#include "dist/communicator.h"

namespace levanter::dist {

namespace {

class Single final : public Communicator {
 public:
  int64_t rank() const override { return 0; }
  int64_t size() const override { return 1; }
  void exchange(std::span<const Sent> send, std::span<const Received> receive) override {
    LEV_CHECK(send[0].bytes == receive[0].bytes, "one rank's sizes differ");
    if (send[0].bytes > 0) std::memmove(receive[0].data, send[0].data, send[0].bytes);
  }
  void abandon(ErrorKind) override {}
};

}  // namespace

extern const CommunicatorEntry single_entry;
const CommunicatorEntry single_entry = {
    .name = "single", .summary = "one rank", .launch = [](int64_t ranks, const RankBody& body) {
      LEV_CHECK(ranks == 1, "the single communicator has one rank");
      Single end;
      body(end);
    }};

}  // namespace levanter::dist

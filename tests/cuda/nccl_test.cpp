// Ranks on emulated cards, joined by an NCCL that is late, wrong or gone.
#include "dist/array_exchange.h"

#include <numeric>

#include <nlohmann/json.hpp>

#include "cuda/fake_cuda.h"
#include "cuda/fake_nccl.h"
#include "dist/gradient_sum.h"
#include "dist/watch.h"
#include "support/checks.h"
#include "support/fault.h"
#include "support/program.h"
#include "support/tiny_run.h"
#include "support/training.h"
#include "train/run.h"
#include "train/setup.h"

using namespace levanter;
using namespace levanter::testing;
using dist::ArrayExchange;
using dist::Communicator;

namespace {

using Mistake = FakeNccl::Mistake;

/// Runs `body` as so many ranks, threads with a card each.
void on_cards(int64_t ranks, const std::function<void(Communicator&, const Backend&)>& body) {
  dist::run_ranks(dist::entry("threads"), ranks, [&](Communicator& end) {
    const auto backend = FakeCuda::backend();
    backend->take_device(static_cast<size_t>(end.rank()));
    body(end, *backend);
  });
}

/// Each rank r sends 4 (d + 1) bytes of the number 10 r + d to rank d, itself among them, twice;
/// checks what comes.
void exchange_numbers(Communicator& end, const Backend& backend, ArrayExchange& exchange) {
  const auto ranks = static_cast<size_t>(end.size()), me = static_cast<size_t>(end.rank());
  const auto words = [&](size_t from, size_t to) {
    return std::vector<int32_t>(to + 1, static_cast<int32_t>(10 * from + to));
  };
  for (int round = 0; round < 2; ++round) {
    std::vector<std::unique_ptr<Buffer>> out, in;
    std::vector<dist::Sent> send;
    std::vector<dist::Received> receive;
    for (size_t r = 0; r < ranks; ++r) {
      out.push_back(backend.allocate(static_cast<int64_t>(4 * (r + 1))));
      in.push_back(backend.allocate(static_cast<int64_t>(4 * (me + 1))));
      backend.upload(out[r]->data(), std::as_bytes(std::span<const int32_t>(words(me, r))));
      send.push_back({out[r]->data(), 4 * (r + 1)});
      receive.push_back({in[r]->data(), 4 * (me + 1)});
    }
    exchange.run(send, receive);
    for (size_t r = 0; r < ranks; ++r) {
      std::vector<int32_t> got(me + 1);
      backend.download(std::as_writable_bytes(std::span(got)), in[r]->data());
      LEV_CHECK(got == words(r, me), "another rank's bytes");
    }
  }
}

void exchange_on_cards(int64_t ranks) {
  on_cards(ranks, [](Communicator& end, const Backend& backend) {
    ArrayExchange exchange(end, backend);
    exchange_numbers(end, backend, exchange);
  });
}

/// The error of two ranks that exchange where one makes a mistake; nothing is kept.
std::string error_with(Mistake mistake, int rank) {
  FakeCuda fake;
  fake.set_cards(2);
  FakeNccl nccl;
  nccl.plant(mistake, rank);
  const std::string error = failure_of(ErrorKind::kDevice, [] { exchange_on_cards(2); });
  CHECK(nccl.living() == 0);
  CHECK(fake.living() == "");
  CHECK(nccl.fault() != "");
  return error;
}

/// One end of a communicator whose ranks can be missed.
class WatchedEnd final : public Communicator {
 public:
  explicit WatchedEnd(Communicator& end) : end_(end), watch_(end.rank()) {}
  void enter_hasty_step() {
    watch_.set_deadlines({.step = 0.2});
    watch_.enter(dist::Phase::kGradients, 3);
  }
  int64_t rank() const override { return end_.rank(); }
  int64_t size() const override { return end_.size(); }
  void exchange(std::span<const dist::Sent> send,
                std::span<const dist::Received> receive) override {
    end_.exchange(send, receive);
  }
  void abandon(ErrorKind kind) override { end_.abandon(kind); }
  void heed() override { end_.heed(); }
  dist::Watch* watch() override { return &watch_; }

 private:
  Communicator& end_;
  dist::Watch watch_;
};

}  // namespace

TEST_CASE("ranks with a card each exchange from card to card, in one group an exchange",
          "[cuda][nccl]") {
  for (const int64_t ranks : {2, 3}) {
    INFO(ranks);
    FakeCuda fake;
    fake.set_cards(static_cast<int>(ranks));
    FakeNccl nccl;
    on_cards(ranks, [](Communicator& end, const Backend& backend) {
      ArrayExchange exchange(end, backend);
      LEV_CHECK(exchange.way() == "NCCL 2.28.9, from device to device", exchange.way());
      exchange_numbers(end, backend, exchange);
    });
    const std::vector<std::string> groups = nccl.groups();
    CHECK(std::ssize(groups) == 2 * ranks);
    if (ranks == 2)
      CHECK(std::count(groups.begin(), groups.end(), "0: send 8 to 1, receive 4 from 1") == 2);
    CHECK(nccl.moved() == (ranks == 2 ? 2 * (4 + 8) : 2 * 2 * (4 + 8 + 12)));
    CHECK(nccl.fault() == "");
    CHECK(nccl.living() == 0);
    CHECK(nccl.aborted() == 0);
    CHECK(fake.living() == "");
    CHECK(fake.fault() == "");
  }
}

TEST_CASE("without NCCL, or where ranks share a card, bytes go through the host's memory",
          "[cuda][nccl]") {
  FakeCuda fake;
  fake.set_cards(2);
  const auto way_of = [](size_t cards) {
    std::string way;
    dist::run_ranks(dist::entry("threads"), 2, [&](Communicator& end) {
      const auto backend = FakeCuda::backend();
      backend->take_device(static_cast<size_t>(end.rank()) % cards);
      ArrayExchange exchange(end, *backend);
      exchange_numbers(end, *backend, exchange);
      if (end.rank() == 0) way = exchange.way();
    });
    return way;
  };
  CHECK(way_of(2) == "the host's memory (rank 0: there is no NCCL)");
  FakeNccl nccl;
  CHECK(way_of(1) == "the host's memory (ranks 0 and 1 share a device)");
  ::setenv("LEVANTER_NCCL", "0", 1);
  CHECK(way_of(2) == "the host's memory (rank 0: LEVANTER_NCCL=0)");
  ::unsetenv("LEVANTER_NCCL");
  CHECK(nccl.groups().empty());
  CHECK(way_of(2) == "NCCL 2.28.9, from device to device");
}

TEST_CASE("one hash on one card and on a card for each of two or three ranks", "[cuda][nccl]") {
  StepPlan plan;
  const auto train = [&](int64_t ranks) {
    INFO(ranks << " ranks");
    plan.ranks = ranks;
    FakeCuda fake;
    fake.set_cards(static_cast<int>(ranks));
    FakeNccl nccl;
    const Trained trained = train_tiny(tiny_model(), plan, "cuda", 1, 2);
    CHECK((nccl.moved() > 0) == (ranks > 1));
    CHECK(nccl.fault() == "");
    CHECK(nccl.aborted() == 0);
    CHECK(fake.fault() == "");
    CHECK(fake.living() == "");
    return trained;
  };
  const Trained whole = train(1);
  CHECK(train(2) == whole);
  CHECK(train(3) == whole);
  plan.sharding = dist::Sharding::kNone;
  CHECK(train(2) == whole);
}

TEST_CASE("a run of two ranks takes a card each, says how they exchange, and has one rank's hash",
          "[cuda][nccl]") {
  const TinyRun run;
  const auto hash = [&](const std::string& id, int ranks) {
    FakeCuda fake;
    fake.set_cards(2);
    FakeNccl nccl;
    const std::string several = cat("ranks = ", ranks, "\ncommunicator = \"threads\"\n");
    const TrainConfig config =
        run.config(id, cat("num_train_steps = 2\ndevice = \"cuda\"\n", ranks == 1 ? "" : several));
    REQUIRE(train::train(config, {.make_backend = FakeCuda::make}) == train::Outcome::kFinished);
    CHECK((nccl.moved() > 0) == (ranks > 1));
    CHECK(fake.living() == "");
    return nlohmann::json::parse(
               read_file(run.folder / cat("runs/", id, "/summary.json")))["params_hash"]
        .get<std::string>();
  };
  CHECK(hash("two", 2) == hash("one", 1));

  FakeCuda fake;
  fake.set_cards(2);
  const TrainConfig three = run.config(
      "three", "num_train_steps = 2\ndevice = \"cuda\"\nranks = 3\ncommunicator = \"threads\"\n");
  CHECK_THAT(failure_of(ErrorKind::kDevice,
                        [&] { train::train(three, {.make_backend = FakeCuda::make}); }),
             Catch::Contains(" has 3 ranks and 2 devices"));
  CHECK_FALSE(path_exists(run.folder / "runs/three"));
}

TEST_CASE("each rank's card holds what the plan names, to the byte", "[cuda][nccl]") {
  const AdamConfig adam;
  const Gpt2Config model = tiny_model();
  StepPlan plan;
  plan.ranks = 3;
  FakeCuda fake;
  fake.set_cards(3);
  FakeNccl nccl;
  on_cards(3, [&](Communicator& end, const Backend& backend) {
    train::CompiledStep step = compile_step(model, adam, plan, backend, end.rank());
    const int64_t estimated = backend.network()->link_bytes(3);  // the fake takes none
    const int64_t planned =
        step.persistent_bytes() - estimated + step.arena_bytes() + step.workspace_bytes();
    LEV_CHECK(estimated > 0, "a link takes something");
    train::Engine engine(std::move(step), backend);
    engine.initialise(key_from_seed(1));
    train::StepExchange exchange(end, backend, engine);
    for (int64_t update = 0; update < 2; ++update) run_step(engine, exchange, update);
    LEV_CHECK(fake.memory(static_cast<int>(end.rank())) == planned, "more or less than planned");
  });
  CHECK(nccl.moved() > 0);
}

TEST_CASE("a mistake in what NCCL is told is an error of the run, and no rank waits",
          "[cuda][nccl]") {
  CHECK_THAT(error_with(Mistake::kNoGroupEnd, 1), Catch::Contains("has begun a group"));
  CHECK_THAT(error_with(Mistake::kShortSend, 1),
             Catch::Contains("rank 1 sends 3 bytes to rank 0, which receives 4"));
  CHECK_THAT(error_with(Mistake::kNoGroup, FakeNccl::kAllRanks),
             Catch::Contains("the ranks wait for each other: 0: send 8 to 1; 1: send 4 to 0"));
}

TEST_CASE("any call of NCCL may fail: an error says so, and nothing is kept", "[cuda][nccl]") {
  int64_t calls = 0;
  {
    FakeCuda fake;
    fake.set_cards(2);
    FakeNccl nccl;
    exchange_on_cards(2);
    calls = nccl.calls();
  }
  REQUIRE(calls > 20);
  int errors = 0;
  for (int64_t call = 1; call <= calls; ++call) {
    FakeCuda fake;
    fake.set_cards(2);
    FakeNccl nccl;
    nccl.fail(call);
    const std::string error = error_of([] { exchange_on_cards(2); });
    INFO("call " << call << ": " << error);
    CHECK(nccl.living() == 0);
    CHECK(fake.living() == "");
    if (error.empty()) continue;
    ++errors;
    CHECK_THAT(error, Catch::Contains("NCCL says \"as the fake was told\"") &&
                          Catch::Contains("LEVANTER_NCCL=0"));
  }
  CHECK(errors > 15);
}

TEST_CASE("a rank that NCCL misses ends the run with its words", "[cuda][nccl]") {
  FakeCuda fake;
  fake.set_cards(2);
  FakeNccl nccl;
  const std::string error = failure_of(ErrorKind::kDevice, [&] {
    on_cards(2, [&](Communicator& end, const Backend& backend) {
      ArrayExchange exchange(end, backend);
      exchange_numbers(end, backend, exchange);
      nccl.cut_off(1);
      exchange_numbers(end, backend, exchange);
    });
  });
  CHECK_THAT(error, Catch::Contains("cannot exchange between cards: NCCL says \"remote process"));
  CHECK(nccl.living() == 0);
  CHECK(nccl.aborted() > 0);
  CHECK(fake.living() == "");
}

TEST_CASE("cards that exchange nothing end the run at the deadline of the watchdog",
          "[cuda][nccl]") {
  FakeCuda fake;
  fake.set_cards(2);
  FakeNccl nccl;
  const std::string error = failure_of(ErrorKind::kDevice, [&] {
    on_cards(2, [&](Communicator& end, const Backend& backend) {
      WatchedEnd watched(end);
      ArrayExchange exchange(watched, backend);
      exchange_numbers(watched, backend, exchange);
      dist::barrier(watched);
      nccl.plant(Mistake::kAbsent, 1);
      watched.enter_hasty_step();
      exchange_numbers(watched, backend, exchange);
    });
  });
  CHECK_THAT(error,
             Catch::Contains("the devices of the ranks exchange nothing: rank 0 has waited"));
  CHECK_THAT(error, Catch::Contains("in step 3 (sum of gradients)") &&
                        Catch::Contains("trainer.watchdog.step") &&
                        Catch::Contains("LEVANTER_NCCL=0"));
  CHECK(nccl.living() == 0);
  CHECK(fake.living() == "");
}

TEST_CASE("a rank that fails is heard by one that waits for its card", "[cuda][nccl]") {
  FakeCuda fake;
  fake.set_cards(2);
  FakeNccl nccl;
  nccl.plant(Mistake::kAbsent, 1);
  const std::string error = failure_of(ErrorKind::kData, [&] {
    on_cards(2, [&](Communicator& end, const Backend& backend) {
      ArrayExchange exchange(end, backend);
      if (end.rank() == 0) return exchange_numbers(end, backend, exchange);
      dist::barrier(end);  // rank 0 is now at the cards
      throw Error(ErrorKind::kData, "a text that is gone");
    });
  });
  CHECK_THAT(error, Catch::Contains("a text that is gone"));
  CHECK(nccl.living() == 0);
  CHECK(fake.living() == "");
}

TEST_CASE("a plan for ranks on cards counts what one card holds of the exchange", "[cuda][nccl]") {
  const TinyRun run;
  const std::string config = run.config_file(
      "plan", "num_train_steps = 2\ndevice = \"cuda\"\nranks = 2\ncommunicator = \"threads\"\n");
  const Ended plan = run_program({"plan", "--config", config});
  CHECK(plan.code == 0);
  CHECK_THAT(plan.out, Catch::Contains("gradient exchange") &&
                           Catch::Contains("network (estimated)        224.0 MiB"));
  ::setenv("LEVANTER_NCCL", "0", 1);
  CHECK_THAT(run_program({"plan", "--config", config}).out, !Catch::Contains("network"));
  ::unsetenv("LEVANTER_NCCL");
}

TEST_CASE("the machine's NCCL has every function that is called", "[cuda][nccl][library]") {
  const auto backend = device::make_backend("cuda", 1);
  try {
    CHECK_THAT(backend->network()->name(), Catch::StartsWith("NCCL 2."));
  } catch (const Error& error) {
    WARN("skipped: " << error.message());
    CHECK_THAT(std::string(error.message()), Catch::Contains("the library is not there"));
  }
}

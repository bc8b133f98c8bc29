// One rank's state and step: the same bits however the work is cut, and no memory but the plan's.
#include "train/engine/engine.h"

#include <catch2/catch.hpp>

#include <cmath>
#include <cstring>

#include "support/allocations.h"
#include "support/counting_backend.h"
#include "support/lone_end.h"
#include "support/training.h"

using namespace levanter;
using namespace levanter::testing;

namespace {

constexpr int64_t kSteps = 5;
/// Losses and gradients of f32 sums in another order, relative.
constexpr double kOrderTolerance = 1e-5;

/// Every bit of parameters and optimizer state.
std::string state_of(const train::Engine& engine) {
  return params_hash(engine.model_tensors()) + params_hash(engine.optimizer_tensors());
}

/// An engine on one rank with what it needs.
struct Single {
  Single(const Gpt2Config& m, const StepPlan& plan, std::unique_ptr<Backend> b)
      : model(m),
        backend(std::move(b)),
        engine(compile_step(model, adam, plan, *backend), *backend),
        exchange(end, *backend, engine) {
    engine.initialise(key_from_seed(1));
  }
  train::UpdateReport step(int64_t index, double lr = 1e-2) {
    return run_step(engine, exchange, index, lr);
  }

  const Gpt2Config model;
  const AdamConfig adam;
  std::unique_ptr<Backend> backend;
  train::Engine engine;
  LoneEnd end;
  train::StepExchange exchange;
};

}  // namespace

TEST_CASE("any number of threads and ranks gives the same bits", "[train]") {
  for (const Gpt2Config& model : {tiny_model(), tiny_model_with_dropout()})
    for (const StepPlan& plan : {StepPlan{2, 6, 6}, StepPlan{1, 12, 5}, StepPlan{4, 3, 3}}) {
      INFO(plan.microbatches << " microbatches in " << plan.groups << " groups");
      const Trained expected = train_tiny(model, plan, "cpu", 1, kSteps);
      CHECK(expected.losses.back() < expected.losses.front());
      for (const int threads : {2, 5})
        CHECK(train_tiny(model, plan, "cpu", threads, kSteps) == expected);
      for (const int64_t ranks : {2, 3}) {
        StepPlan shared = plan;
        shared.ranks = ranks;
        for (const dist::Sharding sharding :
             {dist::Sharding::kNone, dist::Sharding::kOptimizer, dist::Sharding::kParameters}) {
          shared.sharding = sharding;
          CHECK(train_tiny(model, shared, "cpu", 1, kSteps) == expected);
        }
      }
    }
}

TEST_CASE("every rank may own one group only", "[train]") {
  StepPlan plan{1, 7, 5};
  const Trained expected = train_tiny(tiny_model_with_dropout(), plan, "cpu", 1, kSteps);
  plan.ranks = 5;
  CHECK(train_tiny(tiny_model_with_dropout(), plan, "cpu", 2, kSteps) == expected);
}

TEST_CASE("what the backward pass keeps or computes again changes no bit", "[train]") {
  for (const char* device : {"cpu", "reference"}) {
    Gpt2Config model = tiny_model_with_dropout();
    std::vector<Trained> results;
    for (const char* policy : {"none", "save_dots", "full", "save(attn, mlp_up)", "save(mlp_act)",
                               "nested(1)", "nested(2)", "nested(9)"}) {
      model.gradient_checkpointing = policy;
      results.push_back(train_tiny(model, {2, 3, 2}, device, 2, 3));
      CHECK(results.back() == results[0]);
    }
  }
}

TEST_CASE("debug mode finds no fault and changes no bit, in any order of steps", "[train]") {
  for (const char* device : {"cpu", "reference"})
    for (const char* policy : {"save_dots", "nested(2)"}) {
      INFO(device << " " << policy);
      Gpt2Config model = tiny_model_with_dropout();
      model.gradient_checkpointing = policy;
      StepPlan plan{2, 3, 2};
      const Trained expected = train_tiny(model, plan, device, 2, 2);
      plan.debug = true;
      CHECK(train_tiny(model, plan, device, 2, 2) == expected);
      for (const uint64_t seed : {1, 2, 3}) {
        plan.schedule_seed = seed;
        CHECK(train_tiny(model, plan, device, 2, 2) == expected);
      }
    }
}

TEST_CASE("gathered parameters change no bit, whatever is computed again and in any order",
          "[train]") {
  for (const char* policy : {"none", "full", "nested(2)"}) {
    INFO(policy);
    Gpt2Config model = tiny_model_with_dropout();
    model.gradient_checkpointing = policy;
    StepPlan plan{.microbatches = 5, .groups = 3, .compute = DType::bf16};
    const Trained expected = train_tiny(model, plan, "reference", 1, 2);
    plan.ranks = 3;
    plan.sharding = dist::Sharding::kParameters;
    CHECK(train_tiny(model, plan, "reference", 1, 2) == expected);
    plan.debug = true;
    plan.schedule_seed = 1;
    CHECK(train_tiny(model, plan, "reference", 1, 2) == expected);
    plan.debug = plan.optimise = false;
    CHECK(train_tiny(model, plan, "reference", 1, 2) == expected);
  }
}

TEST_CASE("an optimised step has the bits of the step as traced", "[train]") {
  for (const char* device : {"cpu", "reference"})
    for (const Gpt2Config& model : {tiny_model(), tiny_model_with_dropout()}) {
      INFO(device);
      StepPlan plan{2, 3, 2};
      const Trained optimised = train_tiny(model, plan, device, 2, 3);
      plan.fuse = false;
      CHECK(train_tiny(model, plan, device, 2, 3) == optimised);
      plan.optimise = false;
      CHECK(train_tiny(model, plan, device, 2, 3) == optimised);
    }
}

TEST_CASE("dropout's masks are those of the example, not of its microbatch", "[train]") {
  // One microbatch of six and six of one: the same numbers, added in another order.
  const Trained whole = train_tiny(tiny_model_with_dropout(), {6, 1, 1}, "cpu", 1, kSteps);
  const Trained parts = train_tiny(tiny_model_with_dropout(), {1, 6, 6}, "cpu", 1, kSteps);
  const Trained plain = train_tiny(tiny_model(), {6, 1, 1}, "cpu", 1, kSteps);
  for (size_t i = 0; i < whole.losses.size(); ++i) {
    CHECK(std::abs(whole.losses[i] - parts.losses[i]) <= kOrderTolerance * whole.losses[i]);
    CHECK(std::abs(whole.losses[i] - plain.losses[i]) > 100 * kOrderTolerance * whole.losses[i]);
  }
}

TEST_CASE("the loss is weighted by tokens over the global batch", "[train]") {
  // Rows weigh very differently, so a mean of microbatch means would be another number.
  Single whole(tiny_model(), {12, 1, 1}, make_backend("cpu", 1));
  const train::UpdateReport one = whole.step(0);
  const MadeUpRows all(0, 0, 12);
  double nats = 0;
  Single fresh(tiny_model(), {12, 1, 1}, make_backend("cpu", 1));
  const std::span<const float> losses = fresh.engine.run_evaluation(all.from(0));
  for (size_t i = 0; i < losses.size(); ++i) nats += losses[i] * all.loss_weight[i];
  CHECK(std::abs(one.loss - nats / all.loss_tokens()) <= kOrderTolerance * one.loss);

  double mean_of_means = 0;
  for (int64_t m = 0; m < 6; ++m) {
    const MadeUpRows rows(0, 2 * m, 2);
    double sum = 0;
    for (size_t i = 0; i < rows.loss_weight.size(); ++i)
      sum += losses[static_cast<size_t>(m) * rows.loss_weight.size() + i] * rows.loss_weight[i];
    mean_of_means += sum / rows.loss_tokens() / 6;
  }
  CHECK(std::abs(one.loss - mean_of_means) > 10 * kOrderTolerance * one.loss);

  for (const StepPlan& plan : {StepPlan{2, 6, 6}, StepPlan{3, 4, 2}, StepPlan{1, 12, 5}}) {
    Single cut(tiny_model(), plan, make_backend("cpu", 2));
    const train::UpdateReport report = cut.step(0);
    CHECK(std::abs(report.loss - one.loss) <= kOrderTolerance * one.loss);
    CHECK(std::abs(report.grad_norm - one.grad_norm) <= kOrderTolerance * one.grad_norm);
  }
}

TEST_CASE("a batch without loss tokens changes nothing but the running means", "[train]") {
  Single run(tiny_model(), {2, 1, 1}, make_backend("cpu", 1));
  MadeUpRows rows(0, 0, 2);
  std::fill(rows.loss_weight.begin(), rows.loss_weight.end(), 0.0f);
  run.engine.begin_step(rows.loss_tokens(), {});
  run.engine.run_microbatch(rows.from(0));
  run.exchange.sum_gradients();
  const train::UpdateReport report = run.engine.run_update(0, 1e-2);
  CHECK(report.loss == 0);
  CHECK(report.grad_norm == 0);
  CHECK(report.proceeded);
}

TEST_CASE("a loss or gradient that is not finite leaves every bit of the state", "[train]") {
  for (const char* device : {"cpu", "reference"}) {
    Single run(tiny_model(), {2, 2, 2}, make_backend(device, 2));
    CHECK(run.step(0).proceeded);
    // A poisoned parameter: the loss is NaN from now on.
    const Tensor poisoned = run.engine.model_targets().front();
    const float nan = NAN;
    std::memcpy(poisoned.data + 4 * run.engine.step().params[0].type.elements() / 2, &nan, 4);
    const std::string before = state_of(run.engine);
    for (int64_t step = 1; step < 3; ++step) {
      const train::UpdateReport report = run.step(step);
      CHECK_FALSE(report.proceeded);
      CHECK(state_of(run.engine) == before);
    }
  }
}

TEST_CASE("a gradient whose norm overflows is not taken either", "[train]") {
  Single run(tiny_model(), {2, 1, 1}, make_backend("cpu", 1));
  const std::string before = state_of(run.engine);
  const MadeUpRows rows(0, 0, 2);
  run.engine.begin_step(1e-37, {});  // 1 / tokens is huge: the loss is finite, its norm is not
  run.engine.run_microbatch(rows.from(0));
  run.exchange.sum_gradients();
  const train::UpdateReport report = run.engine.run_update(0, 1e-2);
  CHECK_FALSE(report.proceeded);
  CHECK(std::isinf(report.grad_norm));
  CHECK(state_of(run.engine) == before);
}

TEST_CASE("initial parameters are drawn from their paths' own keys", "[train]") {
  const Single run(tiny_model(), {2, 1, 1}, make_backend("cpu", 1));
  const auto& params = run.engine.step().params;
  const auto tensors = run.engine.model_tensors();
  REQUIRE(tensors.size() == params.size());
  for (size_t i = 0; i < params.size(); ++i) {
    std::vector<float> expected(static_cast<size_t>(params[i].type.elements()),
                                static_cast<float>(params[i].init.mean));
    if (params[i].init.stddev > 0) {
      fill_normal(fold_in(key_from_seed(1), params[i].path), 0, expected);
      for (float& x : expected) x = x * static_cast<float>(params[i].init.stddev);
    }
    INFO(params[i].path);
    CHECK(tensors[i].path == params[i].path);
    CHECK(std::memcmp(tensors[i].data, expected.data(), expected.size() * 4) == 0);
  }
  for (const Tensor& state : run.engine.optimizer_tensors())
    for (int64_t i = 0; i < state.elements(); ++i)
      REQUIRE(reinterpret_cast<const float*>(state.data)[i] == 0);
}

TEST_CASE("state read into an engine continues to the bit", "[train]") {
  const Gpt2Config model = tiny_model_with_dropout();
  const StepPlan plan{2, 3, 2};
  Single straight(model, plan, make_backend("cpu", 2)), before(model, plan, make_backend("cpu", 1)),
      after(model, plan, make_backend("cpu", 5));
  for (int64_t step = 0; step < 6; ++step) straight.step(step);
  for (int64_t step = 0; step < 3; ++step) before.step(step);
  after.engine.initialise(key_from_seed(99));
  const auto copy = [](const std::vector<Tensor>& from, const std::vector<Tensor>& to) {
    REQUIRE(from.size() == to.size());
    for (size_t i = 0; i < from.size(); ++i) {
      REQUIRE(from[i].path == to[i].path);
      std::memcpy(to[i].data, from[i].data, static_cast<size_t>(from[i].bytes()));
    }
  };
  copy(before.engine.model_tensors(), after.engine.model_targets());
  copy(before.engine.optimizer_tensors(), after.engine.optimizer_tensors());
  for (int64_t step = 3; step < 6; ++step) after.step(step);
  CHECK(state_of(after.engine) == state_of(straight.engine));
}

TEST_CASE("rows of one segment train to the same bits without segments", "[train]") {
  const auto train = [](const char* device, const Gpt2Config& model, models::Segments segments) {
    StepPlan plan{2, 1, 1};
    plan.segments = segments;
    Single run(model, plan, make_backend(device, 2));
    std::vector<float> losses;
    for (int64_t step = 0; step < kSteps; ++step) {
      MadeUpRows rows(step, 0, 2);
      std::fill(rows.segment_ids.begin(), rows.segment_ids.end(), 0);
      for (size_t t = 5; t < 8; ++t) {  // the first row ends with padding
        rows.segment_ids[t] = data::kPaddingSegment;
        rows.loss_weight[t] = 0;
      }
      const auto view = run.engine.run_evaluation(rows.from(0));
      losses.insert(losses.end(), view.begin(), view.begin() + 5);
      losses.insert(losses.end(), view.begin() + 8, view.end());
      run.engine.begin_step(rows.loss_tokens(), key_from_seed(3));
      run.engine.run_microbatch(rows.from(0));
      losses.push_back(run.engine.run_update(step, 1e-2).loss);
    }
    return std::pair(losses, state_of(run.engine));
  };
  for (const char* device : {"cpu", "reference"})
    for (const Gpt2Config& model : {tiny_model(), tiny_model_with_dropout()})
      CHECK(train(device, model, models::Segments::kOne) ==
            train(device, model, models::Segments::kSeveral));

  const AdamConfig adam;
  const Gpt2Config model = tiny_model();
  StepPlan plan{2, 1, 1};
  const auto backend = make_backend("cpu", 1);
  const int64_t with = compile_step(model, adam, plan, *backend).input_bytes();
  plan.segments = models::Segments::kOne;
  CHECK(with - compile_step(model, adam, plan, *backend).input_bytes() == 2 * 8 * 4);
}

TEST_CASE("evaluation neither drops out nor touches the state", "[train]") {
  Single run(tiny_model_with_dropout(), {2, 2, 2}, make_backend("cpu", 1));
  run.step(0);
  const std::string before = state_of(run.engine);
  const MadeUpRows rows(5, 0, 2);
  const auto first = run.engine.run_evaluation(rows.from(0));
  const std::vector<float> losses(first.begin(), first.end());
  run.step(1, 0);
  const auto second = run.engine.run_evaluation(rows.from(0));
  CHECK(losses.size() == 16);
  CHECK(std::equal(second.begin(), second.end(), losses.begin()));
  CHECK(params_hash(run.engine.model_tensors()) == before.substr(0, before.size() / 2));
}

TEST_CASE("an engine holds the bytes that the plan names, to the byte", "[train]") {
  const AdamConfig adam;
  for (const char* device : {"cpu", "reference"})
    for (const StepPlan& plan :
         {StepPlan{12, 1, 1}, StepPlan{2, 6, 6}, StepPlan{1, 12, 5, 3}, StepPlan{1, 7, 1},
          StepPlan{.microbatch = 1,
          .microbatches = 12,
          .groups = 5,
          .ranks = 3,
          .sharding = dist::Sharding::kNone},
          StepPlan{.ranks = 4, .sharding = dist::Sharding::kParameters},
          StepPlan{.ranks = 2, .compute = DType::bf16, .sharding = dist::Sharding::kParameters}})
      for (const char* policy : {"none", "full"}) {
        Gpt2Config model = tiny_model_with_dropout();
        model.gradient_checkpointing = policy;
        for (int64_t rank = 0; rank < plan.ranks; ++rank) {
          const CountingBackend backend(make_backend(device, 2));
          train::CompiledStep step = compile_step(model, adam, plan, backend, rank);
          int64_t constants = 0;
          for (const train::MemoryLine& line : step.persistent())
            if (line.what == "constants") constants = line.bytes;
          const int64_t planned =
              step.persistent_bytes() - constants + step.arena_bytes() + step.workspace_bytes();
          CHECK(backend.bytes() == 0);  // a plan takes no memory of the device
          train::Engine engine(std::move(step), backend);
          CHECK(engine.allocated_bytes() == backend.bytes());
          LoneEnd end(rank, plan.ranks);
          const train::StepExchange exchange(end, backend, engine);
          CHECK(backend.bytes() == planned);
        }
      }
}

TEST_CASE("a compiled step allocates nothing after its first run", "[train]") {
  // The products' library takes and frees a few arguments' worth inside its own call.
  const bool found = ignore_allocations_of("libdnnl");
  REQUIRE(found);
  for (const char* device : {"cpu", "reference"}) {
    INFO(device);
    Single run(tiny_model_with_dropout(), {2, 5, 3}, make_backend(device, 1));
    std::vector<MadeUpRows> rows;
    for (int64_t m = 0; m < 5; ++m) rows.emplace_back(0, 2 * m, 2);
    const auto step = [&] {
      run.engine.begin_step(30, key_from_seed(2));
      for (const MadeUpRows& microbatch : rows) run.engine.run_microbatch(microbatch.from(0));
      run.exchange.sum_gradients();
      return run.engine.run_update(0, 1e-3).proceeded &&
             !run.engine.run_evaluation(rows[0].from(0)).empty();
    };
    bool good = step();
    const int64_t before = allocations();
    for (int i = 0; i < 3; ++i) good = step() && good;
    CHECK(allocations() == before);
    CHECK(good);
  }
  const int64_t before = allocations();  // and the counter counts
  ::operator delete(::operator new(1));
  CHECK(allocations() == before + 1);
}
